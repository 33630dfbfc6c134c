/** How the directions of a contribution are cut into passes, and the rows' values put together. */
import type { Measurement } from './estimator.ts';

/** Measures the directions in passes of equal size, at most `perPass`: a short one at the end would be the least efficient. */
export async function inPasses(
  measurement: Measurement,
  perPass: number,
  measure: (part: Measurement) => Promise<Float64Array>,
): Promise<Float64Array> {
  const { firstDirection, directions } = measurement;
  const atOnce = Math.ceil(directions / Math.ceil(directions / perPass));
  const gradients = new Float64Array(directions);
  for (let j = 0; j < directions; j += atOnce) {
    const part = { firstDirection: firstDirection + j, directions: Math.min(atOnce, directions - j) };
    gradients.set(await measure({ ...measurement, ...part }), j);
  }
  return gradients;
}

/** Losses or slopes `[G · rows]` → `[G]`. */
export function meanOverRows(values: Float64Array, adapters: number): Float64Array {
  const rows = values.length / adapters;
  return Float64Array.from({ length: adapters }, (_, g) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += values[g * rows + row]!;
    return sum / rows;
  });
}
