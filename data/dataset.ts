/**
 * A worker's rows as token ids: reads a data file, or one shard of it, and fits every row to the length limit.
 *
 * The room data/ is the way from a file of text to token rows, and their order. What is computed from them is not its affair.
 */
import { extname } from 'node:path';
import type { TokenRow } from '../model/token-row.ts';
import { type EncodedRow, encodeRows, loadTokenizer, type Tokenizer } from '../model/tokenizer.ts';
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
function textRows(file: string, rules: TsvRules): Generator<TextExample> {
  const ending = extname(file).toLowerCase();
  if (ending === '.tsv') return readTsv(file, rules, '\t');
  return ending === '.csv' ? readTsv(file, rules, ',') : readJsonl(file);
}

/** Finds the faults of a data file that need no tokenizer to be seen, before a model is loaded. @throws as `readDataset` */
export function checkRows(file: string, rules: TsvRules): void {
  let rows = 0;
  for (const _ of textRows(file, rules)) rows++;
  if (rows === 0) throw usageError(`${file}: no rows`);
}

/** What is encoded at once: rows, and characters of their texts after which no row is added. */
const BATCH_ROWS = 256;
const BATCH_CHARACTERS = 2 ** 18;

/**
 * Reads `file`: columns where it ends in .tsv or .csv, in capitals or not; JSON lines otherwise.
 * @param shard keeps only the rows i (from 0) with i mod shards = shard
 * @throws OperatingError (usage) that names the file and the line, where a row is malformed or does not fit, or none is left
 */
export async function readDataset(
  file: string,
  tokenizer: Tokenizer,
  rules: DatasetRules,
  { shard, shards } = { shard: 0, shards: 1 },
): Promise<Dataset> {
  const examples: Example[] = [];
  let rows = 0;
  for (const batch of batches(ownRows())) {
    const encoded = await encodeRows(tokenizer, batch, rules.appendEos);
    for (const [i, text] of batch.entries()) examples.push(fitExample(file, text, encoded[i]!, rules));
  }
  if (rows === 0) throw usageError(`${file}: no rows`);
  if (examples.length === 0) throw usageError(`${file}: ${rows} rows, none of them in shard ${shard} of ${shards}`);
  const count = (is: (example: Example) => boolean): number => examples.filter(is).length;
  return { examples, truncated: count(({ truncated }) => truncated), merged: count(({ merged }) => merged) };

  function* ownRows(): Generator<TextExample> {
    for (const text of textRows(file, rules)) {
      if (rows === MAX_ROWS) throw usageError(`${file}:${text.line}: more than ${MAX_ROWS} rows`);
      if (inShard(rows++, shard, shards)) yield text;
    }
  }
}

/** The rows of `file`, every one of which fits the model in `directory` and the rules. @throws as `readDataset` */
export async function countRows(file: string, directory: string, rules: DatasetRules): Promise<number> {
  const tokenizer = await loadTokenizer(directory);
  try {
    return (await readDataset(file, tokenizer, rules)).examples.length;
  } finally {
    tokenizer.close();
  }
}

function* batches(texts: Iterable<TextExample>): Generator<TextExample[]> {
  let batch: TextExample[] = [];
  let characters = 0;
  for (const text of texts) {
    batch.push(text);
    characters += (text.options.length + 1) * text.prompt.length;
    for (const option of text.options) characters += option.length;
    if (batch.length < BATCH_ROWS && characters < BATCH_CHARACTERS) continue;
    yield batch;
    batch = [];
    characters = 0;
  }
  if (batch.length > 0) yield batch;
}

function fitExample(file: string, text: TextExample, options: readonly EncodedRow[], rules: DatasetRules): Example {
  const fitted = options.map((option, i) => fitRow(`${file}:${text.line}`, text.options[i]!, option, rules));
  return {
    line: text.line,
    options: fitted.map(({ row }) => row),
    right: text.right,
    classified: text.classified,
    truncated: fitted.some(({ truncated }) => truncated),
    merged: options.some(({ merged }) => merged),
  };
}

function fitRow(where: string, option: string, { ids, labels, leading }: EncodedRow, rules: DatasetRules) {
  const fail = (reason: string): Error => usageError(`${where}: ${reason}`);
  const completion = labels.length;
  const shown = JSON.stringify(option.slice(0, 80));
  if (completion === 0) throw fail(`the completion ${shown} has no tokens of its own`);
  if (labels[0] === 0)
    throw fail(`no token comes before the completion ${shown}, so its first one cannot be predicted; write a prompt`);
  const kept = Math.min(leading, labels[0]!);
  if (completion + Math.max(kept, 1) > rules.maxLength)
    throw fail(`the completion ${shown} has ${completion} tokens, which do not fit data.maxLength ${rules.maxLength}`);
  const excess = Math.max(0, ids.length - rules.maxLength);
  const row: TokenRow = {
    ids: excess === 0 ? ids : [...ids.slice(0, kept), ...ids.slice(kept + excess)],
    labels: labels.map((label) => label - excess),
  };
  return { row, truncated: excess > 0 };
}
