/** Random numbers that nobody else can know: of the system, never of the run seed. */
import { randomFillSync } from 'node:crypto';

/** Uniform in (0, 1), of at least 52 random bits. Tests give a seeded one. */
export type RandomSource = () => number;

/** Numbers that are drawn from the system at once. */
const BATCH = 1024;

/** What node:crypto gives; no number is used twice. */
export function secretRandom(): RandomSource {
  const words = new BigUint64Array(BATCH);
  let next = BATCH;
  return () => {
    if (next === BATCH) {
      randomFillSync(words);
      next = 0;
    }
    const bits = words[next]! >> 12n;
    words[next++] = 0n;
    return (Number(bits) + 0.5) / 2 ** 52;
  };
}
