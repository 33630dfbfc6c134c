/** Values at label positions, put together to values of rows. */
import type { TokenRow } from '../token-row.ts';

/** Adds the values at label positions, adapter by adapter and row by row of the tile, up to one of `sums` `[adapters · rows]` for each row. */
export function addUp(values: ArrayLike<number>, rows: readonly TokenRow[], tile: Tile, sums: Float64Array): void {
  let at = 0;
  for (let g = 0; g < tile.adapters; g++)
    for (const row of tile.rows) {
      let sum = 0;
      for (let n = rows[row]!.labels.length; n > 0; n--) sum += values[at++]!;
      sums[(tile.firstAdapter + g) * rows.length + row] = sum;
    }
}

/** What one run of the trunk holds. */
export interface Tile {
  /** Indices of rows. */
  readonly rows: readonly number[];
  /** The first of the tile's adapters, or of its directions. */
  readonly firstAdapter: number;
  readonly adapters: number;
}
