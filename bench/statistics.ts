/** What a few measured values come to. */

export interface MeanAndSpread {
  readonly mean: number;
  /** The sample's standard deviation; 0 for a single value. */
  readonly sd: number;
}

/** NaN for no values. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** @param values at least one; of an even number of values it is the larger of the middle two */
export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/** NaN and 0 for no values. */
export function spread(values: readonly number[]): MeanAndSpread {
  const center = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return { mean: center, sd: Math.sqrt(squares / Math.max(1, values.length - 1)) };
}
