/** What a few measured values come to. */

export interface MeanAndSpread {
  readonly mean: number;
  /** The sample's standard deviation; a single value has none. */
  readonly sd?: number;
}

/** NaN for no values. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** @param values at least one; of an even number of values it is the larger of the middle two */
export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/** NaN for no values. */
export function spread(values: readonly number[]): MeanAndSpread {
  const center = mean(values);
  if (values.length < 2) return { mean: center };
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return { mean: center, sd: Math.sqrt(squares / (values.length - 1)) };
}
