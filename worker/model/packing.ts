/** Rows of tokens to the inputs of the trunk: packed one after another, with the indices that pad and unpad them. */
import assert from 'node:assert/strict';
import { Tensor } from 'onnxruntime-node';
import type { TokenRow } from '../data/token-row.ts';
import type { Architecture } from './architecture.ts';
import { maskName } from './graph/model-graph.ts';
import { ropeTables } from './rope.ts';

export interface PackedRows {
  /** Inputs of the trunk, but for the group and the adapters. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Token id that each label position must predict, `[L]`: the rows' completions, one after another. */
  readonly targets: readonly number[];
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
  const lengths = rows.map(({ ids }) => ids.length);
  const longest = Math.max(...lengths);
  const padding = new Array<number>(rows.length * longest).fill(0);
  const places: number[] = [];
  const positions: number[] = [];
  const labels: number[] = [];
  const targets: number[] = [];
  rows.forEach(({ ids, firstCompletion }, row) => {
    ids.forEach((id, position) => {
      padding[row * longest + position] = places.length;
      if (position >= firstCompletion) {
        labels.push(places.length - 1);
        targets.push(id);
      }
      places.push(row * longest + position);
      positions.push(position);
    });
  });
  const feeds: Record<string, Tensor> = {
    ids: int64(
      rows.flatMap(({ ids }) => ids),
      [1, places.length],
    ),
    padding: int64(padding, [rows.length, longest]),
    places: int64(places, [places.length]),
    labels: int64(labels, [labels.length]),
    labelPlaces: int64(
      labels.map((token) => places[token]!),
      [labels.length],
    ),
    ...maskFeeds(architecture, longest),
    ...ropeFeeds(architecture, lengths),
  };
  const offset = architecture.embedding.positions?.offset;
  if (offset !== undefined)
    feeds.positions = int64(
      positions.map((position) => position + offset),
      [1, positions.length],
    );
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

function ropeFeeds({ ropes, layers }: Architecture, lengths: readonly number[]): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  const used = new Set(layers.map(({ attention }) => attention.inner.rope));
  ropes.forEach((rope, index) => {
    if (!used.has(index)) return;
    const { cos, sin } = ropeTables(rope, lengths);
    const shape = [cos.length / (rope.rotated / 2), rope.rotated / 2];
    feeds[`cos${index}`] = new Tensor('float32', cos, shape);
    feeds[`sin${index}`] = new Tensor('float32', sin, shape);
  });
  return feeds;
}
