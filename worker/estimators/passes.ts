/** How the directions of a contribution are cut into passes, and the rows' values put together. */
import type { Measurement, Projected } from './estimator.ts';

/** Measures the directions in passes of equal size, at most `perPass`: a short one at the end would be the least efficient. */
export async function inPasses(
  measurement: Measurement,
  perPass: number,
  measure: (part: Measurement) => Promise<Projected>,
): Promise<Projected> {
  const { firstDirection, directions } = measurement;
  const atOnce = Math.ceil(directions / Math.ceil(directions / perPass));
  const gradients = new Float64Array(directions);
  let loss = 0;
  for (let j = 0; j < directions; j += atOnce) {
    const part = { firstDirection: firstDirection + j, directions: Math.min(atOnce, directions - j) };
    const projected = await measure({ ...measurement, ...part });
    gradients.set(projected.gradients, j);
    loss += (projected.loss * part.directions) / directions;
  }
  return { gradients, loss };
}

/** float64. */
export const meanOf = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Losses or slopes `[G · rows]` → `[G]`. */
export function meanOverRows(values: Float64Array, adapters: number): Float64Array {
  const rows = values.length / adapters;
  return Float64Array.from({ length: adapters }, (_, g) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += values[g * rows + row]!;
    return sum / rows;
  });
}
