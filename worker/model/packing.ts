/** Rows of tokens to the inputs of the trunk: each token that must be computed once, and the indices that pad and unpad them. */
import assert from 'node:assert/strict';
import { Tensor } from 'onnxruntime-node';
import type { TokenRow } from '../data/token-row.ts';
import type { Architecture } from './architecture.ts';
import { maskName } from './graph/model-graph.ts';
import { dependsOnLength, type RowPosition, ropeTables } from './rope.ts';

export interface PackedRows {
  /** Inputs of the trunk, but for the adapters. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Token id that each label position must predict, `[L]`: the rows' completions, one after another. */
  readonly targets: readonly number[];
}

interface PackedToken extends RowPosition {
  readonly id: number;
  /** In `[B·T]`: of the first row that has it. */
  readonly place: number;
}

/** Asserts that the rows are what the data layer promises: in the vocabulary, not too long, with a completion. */
export function packRows(rows: readonly TokenRow[], architecture: Architecture): PackedRows {
  for (const { ids, firstCompletion } of rows) {
    assert(
      ids.length <= architecture.maxPositions,
      `a row has ${ids.length} tokens, at most ${architecture.maxPositions}`,
    );
    assert(firstCompletion >= 1 && firstCompletion < ids.length, 'a row has a prompt and a completion');
    for (const id of ids) assert(Number.isInteger(id) && id >= 0 && id < architecture.vocabularySize, `token id ${id}`);
  }
  // The last token of a row is predicted, never read.
  const longest = Math.max(...rows.map(({ ids }) => ids.length)) - 1;
  const padding = new Array<number>(rows.length * longest).fill(0);
  const tokens: PackedToken[] = [];
  const labels: number[] = [];
  const targets: number[] = [];
  const known = new Map<string, number>();
  rows.forEach(({ ids, firstCompletion }, row) => {
    let token = architecture.ropes.some(dependsOnLength) ? -ids.length : -1;
    for (let position = 0; position < ids.length - 1; position++) {
      // A token is known by what lies before it and by itself: rows that begin alike share their first tokens.
      const key = `${token} ${ids[position]!}`;
      const place = row * longest + position;
      token = known.get(key) ?? tokens.push({ id: ids[position]!, position, place, length: ids.length }) - 1;
      known.set(key, token);
      padding[place] = token;
      if (position + 1 < firstCompletion) continue;
      labels.push(token);
      targets.push(ids[position + 1]!);
    }
  });
  const column = (values: readonly number[]): Tensor => int64(values, [values.length]);
  const line = (values: readonly number[]): Tensor => int64(values, [1, values.length]);
  const feeds: Record<string, Tensor> = {
    ids: line(tokens.map(({ id }) => id)),
    padding: int64(padding, [rows.length, longest]),
    places: column(tokens.map(({ place }) => place)),
    labels: column(labels),
    labelPlaces: column(labels.map((token) => tokens[token]!.place)),
    ...maskFeeds(architecture, longest),
    ...ropeFeeds(architecture, tokens),
  };
  const offset = architecture.embedding.positions?.offset;
  if (offset !== undefined) feeds.positions = line(tokens.map(({ position }) => position + offset));
  return { feeds, targets };
}

/** An int64 tensor of small numbers. */
export function int64(values: readonly number[], shape: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), shape);
}

/** The lowest float32: what transformers adds, and far below any score. */
const HIDDEN = -3.4028234663852886e38;

function maskFeeds({ layers }: Architecture, longest: number): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const window of new Set(layers.map(({ attention }) => attention.inner.window))) {
    const mask = new Float32Array(longest * longest).fill(HIDDEN);
    for (let query = 0; query < longest; query++)
      for (let key = Math.max(0, query + 1 - (window ?? longest)); key <= query; key++) mask[query * longest + key] = 0;
    feeds[maskName(window)] = new Tensor('float32', mask, [longest, longest]);
  }
  return feeds;
}

function ropeFeeds({ ropes, layers }: Architecture, tokens: readonly RowPosition[]): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
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
