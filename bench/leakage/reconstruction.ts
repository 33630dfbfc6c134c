/**
 * Reconstruction: the tokens of a completion whose prompt is known, by gradient matching (Zhu et al. 2019, "Deep Leakage from
 * Gradients"). Tokens are searched one position after another, since a participant may measure any row that it can think of.
 */
import seedrandom from 'seedrandom';
import type { TokenRow } from '../../model/token-row.ts';
import { gradientBytes, measureGradients } from '../../worker/estimators/contribution.ts';
import type { Lab } from '../lab.ts';
import { mean } from '../statistics.ts';
import { type LeakageRow, shuffled, valuesOf } from './seen.ts';
import { commonWords, TOKENS, WORDS, withUnknown } from './words.ts';

/** Gradients of a row that are seen. */
export const COUNTS = [1, 4, 16, 64, 256, 1024, 2048] as const;
/** How often each position is gone through, and from how many guesses: the nearest end counts. */
const SWEEPS = 2;
const STARTS = 3;

type Measure = (row: TokenRow) => Promise<Float32Array | Float64Array>;

export async function reconstruction(lab: Lab, trials: number, tell: (row: LeakageRow) => void): Promise<void> {
  const words = await commonWords(lab);
  for (const directions of [...COUNTS, undefined]) {
    const learning = { estimator: 'backward', directions: directions ?? 1 } as const;
    const { replica, workers } = await lab.begin({ seed: 1, workers: 4, learning });
    const { context, shard } = workers[0]!;
    const measure: Measure = async (row) =>
      directions === undefined
        ? context.forward.gradient([row], replica.theta)
        : measureGradients(context, replica, 0, [row]);
    const random = seedrandom('text');
    const targets = shuffled(shard.map(withUnknown).filter(isOf(words)), random).slice(0, trials);
    const parts: number[] = [];
    for (const target of targets) {
      const exact = await measure(target);
      const sent =
        directions === undefined ? exact : valuesOf(gradientBytes(context, replica, 0, exact as Float64Array), replica);
      parts.push(await search(target, sent, words, measure, random));
    }
    tell({
      attack: 'text',
      estimator: directions === undefined ? 'averaging' : 'backward',
      rows: 1,
      bytes: directions ?? 4 * context.layout.elements,
      found: mean(parts),
      chance: 1 / WORDS,
    });
  }
}

const isOf =
  (words: readonly number[]) =>
  ({ ids, labels: [firstCompletion] }: TokenRow): boolean =>
    firstCompletion! > 1 && ids.slice(firstCompletion).every((id) => words.includes(id));

/** Part of the unknown tokens of `target` that the search finds. */
async function search(
  target: TokenRow,
  sent: Float32Array | Float64Array,
  words: readonly number[],
  measure: Measure,
  random: () => number,
): Promise<number> {
  const firstCompletion = target.labels[0]!;
  const ends: Guess[] = [];
  for (let start = 0; start < STARTS; start++) {
    const ids = [...target.ids.slice(0, firstCompletion), ...shuffled(words, random).slice(0, TOKENS)];
    ends.push(await descend({ ...target, ids }, sent, words, measure));
  }
  const { ids } = ends.reduce((best, end) => (end.far < best.far ? end : best));
  return mean(target.ids.slice(firstCompletion).map((id, i) => (id === ids[firstCompletion + i] ? 1 : 0)));
}

interface Guess {
  readonly ids: readonly number[];
  /** Squared distance of what it would have sent from what was sent. */
  readonly far: number;
}

/** Changes one unknown token after the other to the word that comes nearest to what was sent. */
async function descend(
  { ids, labels }: TokenRow,
  sent: Float32Array | Float64Array,
  words: readonly number[],
  measure: Measure,
): Promise<Guess> {
  let best: Guess = { ids, far: Number.POSITIVE_INFINITY };
  for (let sweep = 0; sweep < SWEEPS; sweep++)
    for (const at of labels)
      for (const word of words) {
        const guess = best.ids.with(at, word);
        const slopes = await measure({ ids: guess, labels });
        let far = 0;
        for (const [k, value] of sent.entries()) far += (value - slopes[k]!) ** 2;
        if (far < best.far) best = { ids: guess, far };
      }
  return best;
}
