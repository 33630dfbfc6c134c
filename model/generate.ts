/** Prompts to texts: goes on with each prompt until its text is complete. */
import seedrandom from 'seedrandom';
import type { Continuation } from './runtime/continuation.ts';
import { chooseToken, type SamplingRules } from './sampling.ts';
import { GrowingText } from './tokenizer/growing-text.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** What texts are made with. */
export interface Writer {
  readonly continuation: Continuation;
  readonly tokenizer: Tokenizer;
}

export interface GenerationRules extends SamplingRules {
  /** Tokens of a text. */
  readonly maxTokens: number;
  /** Row i of a seed draws the same numbers whatever the other rows are. */
  readonly seed: number;
  /** A text ends before the first of these that it contains. */
  readonly stop: readonly string[];
  /** A text ends with one of these tokens. */
  readonly endIds: ReadonlySet<number>;
}

export interface GeneratedText {
  readonly text: string;
  /** What the model chose, the ending token included. */
  readonly ids: readonly number[];
  /** Why the text ends: with an ending token, at a stop text, at maxTokens or what the model reaches. */
  readonly ended: 'end' | 'stop' | 'length';
}

/** Prompts that are continued at once: each reads the weights with the others. */
export const BATCH_ROWS = 16;

interface GrowingRow {
  readonly ids: number[];
  readonly growing: GrowingText;
  readonly random: () => number;
  text: string;
  /** Characters of `text` that were told. */
  told: number;
  ended: GeneratedText['ended'] | undefined;
}

/**
 * @param prompts ids, at least one each and no more than the model reaches
 * @param firstRow number of the first prompt among all that share a seed
 * @param tell hears a row's text as it grows; a text that may become a stop text is held back
 */
export async function generateTexts(
  { continuation, tokenizer }: Writer,
  prompts: readonly (readonly number[])[],
  rules: GenerationRules,
  firstRow = 0,
  tell: (row: number, text: string) => void = () => {},
): Promise<GeneratedText[]> {
  const rows = prompts.map((prompt, i): GrowingRow => {
    const growing = new GrowingText(tokenizer, prompt);
    return {
      ids: [],
      growing,
      random: seedrandom(`${rules.seed}/generate/${firstRow + i}`),
      text: '',
      told: 0,
      ended: undefined,
    };
  });
  const tellUpTo = (index: number, end: number): void => {
    const row = rows[index]!;
    if (end <= row.told) return;
    tell(index, row.text.slice(row.told, end));
    row.told = end;
  };
  await continuation.continueRows(prompts, async (index, logits) => {
    const row = rows[index]!;
    const id = chooseToken(logits, rules, row.random);
    row.ids.push(id);
    if (rules.endIds.has(id)) row.ended = 'end';
    else grow(row, await row.growing.add(id), rules.stop);
    if (row.ended !== undefined) return undefined;
    tellUpTo(index, row.text.length - heldBack(row.text, rules.stop));
    return row.ids.length < rules.maxTokens ? id : undefined;
  });
  for (const [index, row] of rows.entries()) {
    if (row.ended !== 'stop') grow(row, await row.growing.end(), rules.stop);
    tellUpTo(index, row.text.length);
  }
  return rows.map(({ text, ids, ended }) => ({ text, ids, ended: ended ?? 'length' }));
}

function grow(row: GrowingRow, text: string, stop: readonly string[]): void {
  row.text += text;
  const found = stop.map((end) => row.text.indexOf(end, row.told)).filter((at) => at >= 0);
  if (found.length === 0) return;
  row.text = row.text.slice(0, Math.min(...found));
  row.ended = 'stop';
}

/** Characters at the end of `text` with which a stop text may begin. */
function heldBack(text: string, stop: readonly string[]): number {
  let held = 0;
  for (const end of stop)
    for (let length = Math.min(end.length - 1, text.length); length > held; length--)
      if (text.endsWith(end.slice(0, length))) held = length;
  return held;
}
