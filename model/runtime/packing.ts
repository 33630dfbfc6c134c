/** Rows of tokens to the inputs of the trunk: every token once, and the indices that lay the rows in lines for attention and back. */
import assert from 'node:assert/strict';
import { Tensor } from 'onnxruntime-node';
import type { Architecture } from '../architecture.ts';
import { maskName } from '../graph/model-graph.ts';
import type { TokenRow } from '../token-row.ts';
import { dependsOnLength, type RowPosition, ropeTables } from './rope.ts';

export interface PackedRows {
  /** Inputs of the trunk, but for the adapters. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Token id that each label position must predict, `[L]`: those of the rows, one after another. */
  readonly targets: readonly number[];
  /** What a gradient needs beside `feeds`, to go back from places and label positions to tokens. */
  transposes(): Readonly<Record<string, Tensor>>;
}

interface PackedToken extends RowPosition {
  readonly id: number;
  /** In `[B·T]`: of the first row that has it. */
  readonly place: number;
}

/** Asserts that the rows are what the data layer promises: in the vocabulary, not too long, with a label. */
export function packRows(rows: readonly TokenRow[], architecture: Architecture): PackedRows {
  for (const { ids, labels } of rows) {
    assert(
      ids.length <= architecture.maxPositions,
      `a row has ${ids.length} tokens, at most ${architecture.maxPositions}`,
    );
    assert(
      labels.every((label, i) => label > (labels[i - 1] ?? 0)) && labels.at(-1)! < ids.length,
      'labels ascend, each behind another token of the row',
    );
    for (const id of ids) assert(Number.isInteger(id) && id >= 0 && id < architecture.vocabularySize, `token id ${id}`);
  }
  // The last label of a row is predicted, never read.
  const lines = arrange(rows.map(({ labels }) => labels.at(-1)!));
  const padding = new Array<number>(lines.count * lines.length).fill(0);
  const tokens: PackedToken[] = [];
  const labels: number[] = [];
  const targets: number[] = [];
  const copies: number[] = [];
  const known = new Map<number, number>();
  const { maxPositions, vocabularySize } = architecture;
  rows.forEach(({ ids, labels: predicted }, row) => {
    // What lies before the first token: nothing, or the row's length where that turns the positions.
    let token = architecture.ropes.some(dependsOnLength) ? -ids.length : -1;
    let next = 0;
    for (let position = 0; position < predicted.at(-1)!; position++) {
      // A token is known by what lies before it and by itself: rows that begin alike share their first tokens.
      const key = (token + maxPositions) * vocabularySize + ids[position]!;
      const place = lines.begin[row]! + position;
      token = known.get(key) ?? tokens.push({ id: ids[position]!, position, place, length: ids.length }) - 1;
      known.set(key, token);
      padding[place] = token;
      if (tokens[token]!.place !== place) copies.push(place);
      if (position + 1 !== predicted[next]) continue;
      next++;
      labels.push(token);
      targets.push(ids[position + 1]!);
    }
  });
  const column = (values: readonly number[]): Tensor => int64(values, [values.length]);
  const line = (values: readonly number[]): Tensor => int64(values, [1, values.length]);
  const feeds: Record<string, Tensor> = {
    ids: line(tokens.map(({ id }) => id)),
    padding: int64(padding, [lines.count, lines.length]),
    places: column(tokens.map(({ place }) => place)),
    labels: column(labels),
    labelPlaces: column(labels.map((token) => tokens[token]!.place)),
    ...maskFeeds(architecture, lines, lines.length, rowsOf(lines)),
    ...positionFeeds(architecture, tokens),
  };
  const transposes = () => transposeFeeds(lines, padding, tokens, labels, copies);
  return { feeds, targets, transposes };
}

/** The same inputs with nothing in them, for a run that makes no gradient. */
export const noTransposes = (): Record<string, Tensor> => ({
  isFirst: new Tensor('float32', new Float32Array(), [0, 0, 1]),
  copies: int64([], [0]),
  copyOf: new Tensor('float32', new Float32Array(), [0, 0]),
  labelOf: new Tensor('float32', new Float32Array(), [0, 0]),
});

/**
 * isFirst `[B, T, 1]`: 1 at the first place of each token, else 0. copies `[E]`: its other places, and copyOf `[N, E]` with a 1 where
 * the token is at that place; one more column of zeros, so that there is one. labelOf `[N, L]`: a 1 where it is that label position.
 */
function transposeFeeds(
  { count, length }: Lines,
  padding: readonly number[],
  tokens: readonly PackedToken[],
  labels: readonly number[],
  copies: readonly number[],
): Record<string, Tensor> {
  const isFirst = Float32Array.from(padding, (token, place) => (tokens[token]!.place === place ? 1 : 0));
  const owners = (owner: readonly number[], columns: number): Tensor => {
    const ones = new Float32Array(tokens.length * columns);
    owner.forEach((token, column) => {
      ones[token * columns + column] = 1;
    });
    return new Tensor('float32', ones, [tokens.length, columns]);
  };
  return {
    isFirst: new Tensor('float32', isFirst, [count, length, 1]),
    copies: int64([...copies, 0], [copies.length + 1]),
    copyOf: owners(
      copies.map((place) => padding[place]!),
      copies.length + 1,
    ),
    labelOf: owners(labels, labels.length),
  };
}

/** Where rows lie in `[B, T]`: B lines, each as long as the longest row and with as many rows as it holds. */
interface Lines {
  readonly count: number;
  readonly length: number;
  /** Place of each row's first token. */
  readonly begin: readonly number[];
  /** Tokens of each row. */
  readonly lengths: readonly number[];
}

/** The longest rows first, each into the first line with room (first-fit decreasing). */
function arrange(lengths: readonly number[]): Lines {
  const length = Math.max(...lengths);
  const used: number[] = [];
  const begin = new Array<number>(lengths.length);
  for (const row of lengths.map((_, row) => row).sort((a, b) => lengths[b]! - lengths[a]!)) {
    const roomy = used.findIndex((tokens) => tokens + lengths[row]! <= length);
    const line = roomy < 0 ? used.push(0) - 1 : roomy;
    begin[row] = line * length + used[line]!;
    used[line]! += lengths[row]!;
  }
  return { count: used.length, length, begin, lengths };
}

/** An int64 tensor of small numbers. */
export function int64(values: readonly number[], shape: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), shape);
}

/** A bool tensor `[1]`. */
export const bool = (value: boolean): Tensor => new Tensor('bool', [value], [1]);

/** The lowest float32: what transformers adds, and far below any score. */
const HIDDEN = -3.4028234663852886e38;

/** Where a row lies in the lines of a mask `[B, 1, T, S]`. */
export interface MaskedRow {
  readonly line: number;
  /** Place in its line of the first query and of the first key. */
  readonly first: number;
  readonly queries: number;
  /** Tokens before the first query, whose keys come first. */
  readonly past: number;
}

function rowsOf({ length: T, begin, lengths }: Lines): MaskedRow[] {
  return begin.map((place, row) => {
    return { line: Math.floor(place / T), first: place % T, queries: lengths[row]!, past: 0 };
  });
}

/** Masks of `count` lines of T queries and S keys, one for each window. */
export function maskFeeds(
  { layers }: Architecture,
  { count, length: T }: { readonly count: number; readonly length: number },
  S: number,
  rows: readonly MaskedRow[],
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const window of new Set(layers.map(({ attention }) => attention.inner.window))) {
    const mask = new Float32Array(count * T * S).fill(HIDDEN);
    for (const { line, first, queries, past } of rows)
      for (let query = 0; query < queries; query++) {
        const at = (line * T + first + query) * S + first;
        const end = past + query + 1;
        mask.fill(0, at + Math.max(0, end - (window ?? end)), at + end);
      }
    feeds[maskName(window)] = new Tensor('float32', mask, [count, 1, T, S]);
  }
  return feeds;
}

/** Learned positions or rotations of tokens. */
export function positionFeeds(
  { embedding, ropes, layers }: Architecture,
  tokens: readonly RowPosition[],
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  const offset = embedding.positions?.offset;
  const row = (values: readonly number[]): Tensor => int64(values, [1, values.length]);
  if (offset !== undefined) feeds.positions = row(tokens.map(({ position }) => position + offset));
  const used = new Set(layers.map(({ attention }) => attention.inner.rope));
  ropes.forEach((rope, index) => {
    if (!used.has(index)) return;
    const { cos, sin } = ropeTables(rope, tokens);
    const shape = [tokens.length, rope.rotated / 2];
    feeds[`cos${index}`] = new Tensor('float32', cos, shape);
    feeds[`sin${index}`] = new Tensor('float32', sin, shape);
  });
  return feeds;
}
