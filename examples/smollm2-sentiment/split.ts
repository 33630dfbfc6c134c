/** The split of the IMDB sentences into training, dev and test rows: fixed, balanced, and no sentence on two sides. */
import { createHash } from 'node:crypto';

/** An element of the fixture imdb.json of the npm package `sentiment`: 500 sentences of each class, and one element without. */
export interface Sentence {
  readonly text: string;
  /** 1: positive. */
  readonly class: 0 | 1 | null;
}

/** A row as the data files hold it. */
export interface Row {
  readonly prompt: string;
  readonly options: readonly [string, string];
  readonly label: 0 | 1;
}

/** Rows of each class. */
const PER_CLASS = { train: 200, dev: 50, test: 250 };
export type Part = keyof typeof PER_CLASS;

/** The order is that of the sha-256 of the sentences: equal sentences (three occur twice) stay together. */
export function splitSentences(sentences: readonly Sentence[]): Record<Part, Row[]> {
  const ordered = sentences
    .map((sentence) => ({ text: sentence.text.trim(), label: sentence.class }))
    .map((sentence) => ({ ...sentence, key: createHash('sha256').update(sentence.text).digest('hex') }))
    .sort((a, b) => a.key.localeCompare(b.key));
  const parts: Record<Part, Row[]> = { train: [], dev: [], test: [] };
  const taken = { 0: 0, 1: 0 };
  for (const { text, label } of ordered) {
    if (label === null) continue;
    const place = taken[label]++;
    const part = place < PER_CLASS.train ? 'train' : place < PER_CLASS.train + PER_CLASS.dev ? 'dev' : 'test';
    parts[part].push({ prompt: `${text} It was`, options: [' terrible', ' great'], label });
  }
  return parts;
}

/** Rows as JSON lines. */
export const jsonLines = (rows: readonly Row[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
