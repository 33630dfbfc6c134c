/** Completions of a few unknown words, for the attacks that look for them. */
import { completionRow, type TokenRow } from '../../model/token-row.ts';
import { completionLoss } from '../../worker/objectives/completion-loss.ts';
import type { Lab } from '../lab.ts';

/** Unknown tokens of a completion, and the words that each may be. */
export const TOKENS = 2;
export const WORDS = 64;

/** The tokens that the dev split, which all know, uses most. */
export async function commonWords(lab: Lab): Promise<number[]> {
  const counts = new Map<number, number>();
  for (const example of (await lab.read('dev.jsonl')).examples)
    for (const id of completionLoss.trainingRow(example).ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, WORDS)
    .map(([id]) => id);
}

/** A row whose completion is its last tokens before the verdict ("… . It was great"). */
export const withUnknown = ({ ids }: TokenRow): TokenRow => {
  const text = ids.slice(0, -4);
  return completionRow(text, text.length - TOKENS);
};
