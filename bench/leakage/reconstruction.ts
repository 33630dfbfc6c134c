/**
 * Reconstruction: the tokens of a completion whose prompt is known, by gradient matching (Zhu et al. 2019, "Deep Leakage from
 * Gradients"). Tokens are searched one position after another, since a participant may measure any row that it can think of.
 */
import seedrandom from 'seedrandom';
import { completionRow, type TokenRow } from '../../model/token-row.ts';
import { gradientBytes, measureGradients } from '../../worker/estimators/contribution.ts';
import { completionLoss } from '../../worker/objectives/completion-loss.ts';
import type { Lab } from '../lab.ts';
import { mean } from '../statistics.ts';
import { type LeakageRow, shuffled, valuesOf } from './seen.ts';

const COUNTS = [4, 16, 64, 256] as const;
/** Unknown tokens, the words tried for each, and how often each position is gone through. */
const TOKENS = 2;
const WORDS = 64;
const SWEEPS = 2;

type Measure = (row: TokenRow) => Promise<Float32Array | Float64Array>;

export async function reconstruction(lab: Lab, trials: number, tell: (row: LeakageRow) => void): Promise<void> {
  const words = await commonWords(lab);
  for (const directions of [...COUNTS, undefined]) {
    const learning = { estimator: 'backward', directions: directions ?? 1 } as const;
    const { replica, workers } = await lab.begin({ seed: 1, workers: 4, learning });
    const { context, shard } = workers[0]!;
    const measure: Measure = async (row) =>
      directions === undefined
        ? (await context.forward.gradient([row], replica.theta)).slice()
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
      seen: `${directions ?? 4 * context.layout.elements} B`,
      found: mean(parts),
      chance: 1 / WORDS,
    });
  }
}

/** The tokens that the dev split, which all know, uses most. */
async function commonWords(lab: Lab): Promise<number[]> {
  const counts = new Map<number, number>();
  for (const example of (await lab.read('dev.jsonl')).examples)
    for (const id of completionLoss.trainingRow(example).ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, WORDS)
    .map(([id]) => id);
}

/** A row whose completion is its last tokens before the verdict ("… . It was great"). */
const withUnknown = ({ ids }: TokenRow): TokenRow => {
  const text = ids.slice(0, -4);
  return completionRow(text, text.length - TOKENS);
};
const isOf =
  (words: readonly number[]) =>
  ({ ids, labels: [firstCompletion] }: TokenRow): boolean =>
    firstCompletion! > 1 && ids.slice(firstCompletion).every((id) => words.includes(id));

/** Part of the unknown tokens of `target` that the search finds. */
async function search(
  { ids, labels }: TokenRow,
  sent: Float32Array | Float64Array,
  words: readonly number[],
  measure: Measure,
  random: () => number,
): Promise<number> {
  const firstCompletion = labels[0]!;
  const guess = [...ids.slice(0, firstCompletion), ...shuffled(words, random).slice(0, TOKENS)];
  for (let sweep = 0; sweep < SWEEPS; sweep++)
    for (let at = firstCompletion; at < ids.length; at++) {
      let best = { word: guess[at]!, far: Number.POSITIVE_INFINITY };
      for (const word of words) {
        const slopes = await measure({ ids: guess.with(at, word), labels });
        let far = 0;
        for (const [k, value] of sent.entries()) far += (value - slopes[k]!) ** 2;
        if (far < best.far) best = { word, far };
      }
      guess[at] = best.word;
    }
  return mean(ids.slice(firstCompletion).map((id, i) => (id === guess[firstCompletion + i] ? 1 : 0)));
}
