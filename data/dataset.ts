/**
 * A worker's rows as token ids: reads a data file, or one shard of it, and fits every row to the length limit.
 *
 * The room data/ is the way from a file of text to token rows, and their order. What is computed from them is not its affair.
 */
import { extname } from 'node:path';
import type { TokenRow } from '../model/token-row.ts';
import type { Refused } from '../model/tokenizer/rust-tokenizer.ts';
import {
  type EncodedRow,
  encodeRows,
  loadTokenizer,
  type TextRow,
  type Tokenizer,
} from '../model/tokenizer/tokenizer.ts';
import { usageError } from '../proto/operating-error.ts';
import type { DataRules } from '../proto/run-config.ts';
import { readJsonl } from './jsonl.ts';
import { inShard } from './order.ts';
import type { TextExample } from './text-example.ts';
import { readTsv } from './tsv.ts';

export interface Example {
  /** In the file, from 1. */
  readonly line: number;
  /** Every option after the prompt; one where the row states a completion, is plain text or a chat. */
  readonly options: readonly TokenRow[];
  /** Index of the right option, the one to train on. */
  readonly right: number;
  /** The row states options: the likeliest can be compared with the right one. */
  readonly classified: boolean;
  /** An option lost the left end of its prompt, or the row its right end. */
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

/** Rows of all files. */
const MAX_ROWS = 2 ** 24;

/** The rows of `file` as text: at least one. @throws as `readDataset` of a malformed row, or of none */
function* textRows(file: string, rules: DataRules): Generator<TextExample> {
  let rows = 0;
  for (const row of rowsOf(file, rules)) {
    rows++;
    yield row;
  }
  if (rows === 0) throw usageError(`${file}: no rows`);
}

function rowsOf(file: string, rules: DataRules): Generator<TextExample> {
  const ending = extname(file).toLowerCase();
  if (ending === '.tsv') return readTsv(file, rules, '\t');
  return ending === '.csv' ? readTsv(file, rules, ',') : readJsonl(file);
}

/** Finds the faults of a data file that need no tokenizer to be seen, before a model is loaded. @throws as `readDataset` */
export function checkRows(file: string, rules: DataRules): void {
  for (const _ of textRows(file, rules));
}

/** What is encoded at once: rows, and characters of their texts after which no row is added. */
const BATCH_ROWS = 256;
const BATCH_CHARACTERS = 2 ** 18;

/**
 * Reads files, one after the other: columns where the name ends in .tsv or .csv, in capitals or not; JSON lines otherwise.
 * @param shard keeps only the rows i (from 0, over all files) with i mod shards = shard
 * @throws OperatingError (usage) that names the file and the line, where a row is malformed or does not fit, a file has none, or none is left
 */
export async function readDataset(
  files: string | readonly string[],
  tokenizer: Tokenizer,
  rules: DataRules,
  { shard, shards } = { shard: 0, shards: 1 },
): Promise<Dataset> {
  const examples: Example[] = [];
  let rows = 0;
  for (const file of [files].flat())
    for (const batch of batches(ownRows(file))) {
      const encoded = await encodeRows(
        tokenizer,
        batch.map(({ row }) => row),
        rules.appendEos,
      );
      for (const [i, text] of batch.entries()) examples.push(fitExample(file, text, encoded[i]!, rules));
    }
  if (examples.length === 0)
    throw usageError(`${[files].flat().join(', ')}: ${rows} rows, none of them in shard ${shard} of ${shards}`);
  const count = (is: (example: Example) => boolean): number => examples.filter(is).length;
  return { examples, truncated: count(({ truncated }) => truncated), merged: count(({ merged }) => merged) };

  function* ownRows(file: string): Generator<TextExample> {
    for (const text of textRows(file, rules)) {
      if (rows === MAX_ROWS) throw usageError(`${file}:${text.line}: more than ${MAX_ROWS} rows`);
      if (inShard(rows++, shard, shards)) yield text;
    }
  }
}

/** The rows of `files`, every one of which fits the model in `directory` and the rules. @throws as `readDataset` */
export async function countRows(
  files: Parameters<typeof readDataset>[0],
  directory: string,
  rules: DataRules,
): Promise<number> {
  const tokenizer = await loadTokenizer(directory);
  try {
    return (await readDataset(files, tokenizer, rules)).examples.length;
  } finally {
    tokenizer.close();
  }
}

function* batches(texts: Iterable<TextExample>): Generator<TextExample[]> {
  let batch: TextExample[] = [];
  let characters = 0;
  for (const text of texts) {
    batch.push(text);
    characters += charactersOf(text.row);
    if (batch.length < BATCH_ROWS && characters < BATCH_CHARACTERS) continue;
    yield batch;
    batch = [];
    characters = 0;
  }
  if (batch.length > 0) yield batch;
}

/** About as many as are encoded. */
function charactersOf(row: TextRow): number {
  if ('text' in row) return row.text.length;
  if ('chat' in row) return row.chat.messages.reduce((sum, { content }) => sum + `${content}`.length, 0);
  return row.options.reduce((sum, option) => sum + row.prompt.length + option.length, row.prompt.length);
}

function fitExample(
  file: string,
  { line, row, right, classified }: TextExample,
  encoded: readonly EncodedRow[] | Refused,
  rules: DataRules,
): Example {
  const fail = (reason: string): Error => usageError(`${file}:${line}: ${reason}`);
  if ('refused' in encoded) throw fail(encoded.refused);
  const fitted = encoded.map((one, i) =>
    'options' in row ? fitCompletion(fail, row.options[i]!, one, rules) : fitStart(fail, one, rules),
  );
  return {
    line,
    options: fitted.map(({ row }) => row),
    right,
    classified,
    truncated: fitted.some(({ truncated }) => truncated),
    merged: encoded.some(({ merged }) => merged),
  };
}

interface Fitted {
  readonly row: TokenRow;
  readonly truncated: boolean;
}

type Fail = (reason: string) => Error;

/** Keeps the right end, where the completion is, and the special tokens that the tokenizer puts first. */
function fitCompletion(
  fail: Fail,
  option: string,
  { ids, labels, leading }: EncodedRow,
  { maxLength }: DataRules,
): Fitted {
  const completion = labels.length;
  const shown = JSON.stringify(option.slice(0, 80));
  if (completion === 0) throw fail(`the completion ${shown} has no tokens of its own`);
  if (labels[0] === 0)
    throw fail(`no token comes before the completion ${shown}, so its first one cannot be predicted; write a prompt`);
  const kept = Math.min(leading, labels[0]!);
  if (completion + Math.max(kept, 1) > maxLength)
    throw fail(`the completion ${shown} has ${completion} tokens, which do not fit data.maxLength ${maxLength}`);
  const excess = Math.max(0, ids.length - maxLength);
  const row = {
    ids: excess === 0 ? ids : [...ids.slice(0, kept), ...ids.slice(kept + excess)],
    labels: labels.map((label) => label - excess),
  };
  return { row, truncated: excess > 0 };
}

/** Keeps the left end, without which the rest is no beginning of a text or of a chat. */
function fitStart(fail: Fail, { ids, labels }: EncodedRow, { maxLength }: DataRules): Fitted {
  // Nothing comes before the first token, so it cannot be predicted.
  const row = { ids: ids.slice(0, maxLength), labels: labels.filter((label) => label > 0 && label < maxLength) };
  if (row.labels.length === 0)
    throw fail(
      ids.length > maxLength
        ? `no token of the first ${maxLength} (data.maxLength) is one to learn; the row has ${ids.length}`
        : 'no token is one to learn',
    );
  return { row, truncated: ids.length > maxLength };
}
