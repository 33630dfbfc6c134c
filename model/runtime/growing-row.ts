/** Rows that grow by a token at a time: what the trunk with a cache needs to read their next tokens. */
import assert from 'node:assert/strict';
import type { Tensor } from 'onnxruntime-node';
import type { Architecture } from '../architecture.ts';
import { int64, type MaskedRow, maskFeeds, positionFeeds } from './packing.ts';
import type { RowPosition } from './rope.ts';

export interface GrowingRow {
  /** Tokens so far. */
  readonly ids: readonly number[];
  /** Where the cache has each of the first tokens, by position: those that were read. */
  readonly read: readonly number[];
}

/**
 * Inputs of the trunk that reads the next tokens of `rows`, for each row as many as `counts` says; its one label position is the
 * last of them. The cache has `past` tokens; those that are read now come behind them, row by row.
 */
export function packNext(
  rows: readonly GrowingRow[],
  counts: readonly number[],
  past: number,
  architecture: Architecture,
): Record<string, Tensor> {
  const T = Math.max(...counts);
  const S = Math.max(...rows.map(({ read }, line) => read.length + counts[line]!));
  const tokens: (RowPosition & { readonly id: number; readonly place: number })[] = [];
  const padding = new Array<number>(rows.length * T).fill(0);
  const keys = new Array<number>(rows.length * S).fill(0);
  const labels: number[] = [];
  const masked: MaskedRow[] = [];
  rows.forEach(({ ids, read }, line) => {
    masked.push({ line, first: 0, queries: counts[line]!, past: read.length });
    read.forEach((place, position) => {
      keys[line * S + position] = place;
    });
    for (let i = 0; i < counts[line]!; i++) {
      const position = read.length + i;
      const id = ids[position]!;
      assert(id >= 0 && id < architecture.vocabularySize && position < architecture.maxPositions, `token id ${id}`);
      const place = line * T + i;
      keys[line * S + position] = past + tokens.length;
      padding[place] = tokens.push({ id, position, place, length: ids.length }) - 1;
    }
    labels.push(tokens.length - 1);
  });
  const column = (values: readonly number[]): Tensor => int64(values, [values.length]);
  return {
    ids: int64(
      tokens.map(({ id }) => id),
      [1, tokens.length],
    ),
    padding: int64(padding, [rows.length, T]),
    keys: int64(keys, [rows.length, S]),
    places: column(tokens.map(({ place }) => place)),
    labels: column(labels),
    labelPlaces: column(labels.map((token) => tokens[token]!.place)),
    ...maskFeeds(architecture, { count: rows.length, length: T }, S, masked),
    ...positionFeeds(architecture, tokens),
  };
}
