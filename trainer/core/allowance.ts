/** What each of many who ask may have: so much at once, and so much a second after that (token buckets). */

export interface Rate {
  readonly atOnce: number;
  readonly perSecond: number;
}

/** What is left to who asked, and when that was counted. */
export type Allowances = Map<string, { readonly left: number; readonly atMs: number }>;

/** Those that are remembered; beyond, the one longest unused is forgotten. */
const MAX_ASKERS = 4096;

/** Takes one off what is left to each of `askers`. False: to one of them nothing is left, and nothing is taken. */
export function takeOne(allowances: Allowances, askers: readonly (readonly [string, Rate])[], atMs: number): boolean {
  const left = askers.map(([asker, { atOnce, perSecond }]) => {
    const before = allowances.get(asker) ?? { left: atOnce, atMs };
    return Math.min(atOnce, before.left + ((atMs - before.atMs) * perSecond) / 1000);
  });
  if (left.some((n) => n < 1)) return false;
  askers.forEach(([asker], i) => {
    allowances.delete(asker);
    allowances.set(asker, { left: left[i]! - 1, atMs });
  });
  for (const [oldest] of allowances) if (allowances.size > MAX_ASKERS) allowances.delete(oldest);
  return true;
}
