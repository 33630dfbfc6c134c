/**
 * A worker's rows as token ids: reads a data file, or one shard of it, and fits every row to the length limit.
 *
 * The room data/ is the way from a file of text to token rows, and their order. What is computed from them is not its affair.
 */
import type { TokenRow } from '../model/token-row.ts';
import { encodeRow, type Tokenizer } from '../model/tokenizer.ts';
import { usageError } from '../proto/operating-error.ts';
import { readJsonl } from './jsonl.ts';
import { inShard } from './order.ts';
import type { TextExample } from './text-example.ts';
import { readTsv, type TsvRules } from './tsv.ts';

/** What changes the meaning of a byte: the run config's `data`. */
export interface DatasetRules extends TsvRules {
  /** Tokens of a row. A longer prompt loses its left end, but not the special tokens that the tokenizer puts first. */
  readonly maxLength: number;
  readonly appendEos: boolean;
}

export interface Example {
  /** In the file, from 1. */
  readonly line: number;
  /** Every option after the prompt; one where the row states a completion. */
  readonly options: readonly TokenRow[];
  /** Index of the right option, the one to train on. */
  readonly right: number;
  /** The row states options: the likeliest can be compared with the right one. */
  readonly classified: boolean;
  /** An option lost the left end of its prompt. */
  readonly truncated: boolean;
  /** An option merges with the end of its prompt. */
  readonly merged: boolean;
}

export interface Dataset {
  readonly examples: readonly Example[];
  /** How many of them are. */
  readonly truncated: number;
  readonly merged: number;
}

/** Rows of a file. */
const MAX_ROWS = 2 ** 24;

/** The rows of `file` as text. @throws as `readDataset` of a malformed row */
const textRows = (file: string, rules: TsvRules): Generator<TextExample> =>
  file.endsWith('.tsv') ? readTsv(file, rules) : readJsonl(file);

/** Finds the faults of a data file that need no tokenizer to be seen, before a model is loaded. @throws as `readDataset` */
export function checkRows(file: string, rules: TsvRules): void {
  let rows = 0;
  for (const _ of textRows(file, rules)) rows++;
  if (rows === 0) throw usageError(`${file}: no rows`);
}

/**
 * Reads `file`: TSV where it ends in .tsv, JSON lines otherwise.
 * @param shard keeps only the rows i (from 0) with i mod shards = shard
 * @throws OperatingError (usage) that names the file and the line, where a row is malformed or does not fit, or none is left
 */
export function readDataset(
  file: string,
  tokenizer: Tokenizer,
  rules: DatasetRules,
  { shard, shards } = { shard: 0, shards: 1 },
): Dataset {
  const examples: Example[] = [];
  let rows = 0;
  for (const text of textRows(file, rules)) {
    if (rows === MAX_ROWS) throw usageError(`${file}:${text.line}: more than ${MAX_ROWS} rows`);
    if (!inShard(rows++, shard, shards)) continue;
    const fitted = text.options.map((option) => fitRow(file, text, option, tokenizer, rules));
    const { line, right, classified } = text;
    const truncated = fitted.some((row) => row.truncated);
    const merged = fitted.some((row) => row.merged);
    examples.push({ line, options: fitted.map(({ row }) => row), right, classified, truncated, merged });
  }
  if (rows === 0) throw usageError(`${file}: no rows`);
  if (examples.length === 0) throw usageError(`${file}: ${rows} rows, none of them in shard ${shard} of ${shards}`);
  const count = (is: (example: Example) => boolean): number => examples.filter(is).length;
  return { examples, truncated: count(({ truncated }) => truncated), merged: count(({ merged }) => merged) };
}

function fitRow(file: string, text: TextExample, option: string, tokenizer: Tokenizer, rules: DatasetRules) {
  const fail = (reason: string): Error => usageError(`${file}:${text.line}: ${reason}`);
  const { ids, firstCompletion, merged } = encodeRow(tokenizer, text.prompt, option, rules.appendEos);
  const completion = ids.length - firstCompletion;
  const shown = JSON.stringify(option.slice(0, 80));
  if (completion === 0) throw fail(`the completion ${shown} has no tokens of its own`);
  if (firstCompletion === 0)
    throw fail(`no token comes before the completion ${shown}, so its first one cannot be predicted; write a prompt`);
  const kept = Math.min(tokenizer.leading, firstCompletion);
  if (completion + Math.max(kept, 1) > rules.maxLength)
    throw fail(`the completion ${shown} has ${completion} tokens, which do not fit data.maxLength ${rules.maxLength}`);
  const excess = Math.max(0, ids.length - rules.maxLength);
  const row: TokenRow = {
    ids: excess === 0 ? ids : [...ids.slice(0, kept), ...ids.slice(kept + excess)],
    firstCompletion: firstCompletion - excess,
  };
  return { row, truncated: excess > 0, merged };
}
