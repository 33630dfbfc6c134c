/** A row as the forward pass takes it. */
export interface TokenRow {
  readonly ids: readonly number[];
  /**
   * Positions whose tokens are predicted from those before them: the row's loss is the sum over them. At least one, ascending, each
   * from 1 and below the number of ids. What follows the last one has no effect.
   */
  readonly labels: readonly number[];
}

/** A row whose loss is that of ids[firstCompletion …]. */
export const completionRow = (ids: readonly number[], firstCompletion: number): TokenRow => ({
  ids,
  labels: ids.slice(firstCompletion).map((_, i) => firstCompletion + i),
});
