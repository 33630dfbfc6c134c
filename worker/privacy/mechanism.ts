/**
 * The mechanism: rows drawn in secret, each row's slopes clipped as one vector, the sum with Gaussian noise. All that follows, the
 * division, the byte, the record, the update, is made from its result alone.
 */
import type { ReplicaState } from '../../kernels/replica.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { measureGradients } from '../estimators/contribution.ts';
import type { EstimatorContext } from '../estimators/estimator.ts';
import type { Cost } from './accountant.ts';
import type { RandomSource } from './random-source.ts';

export interface Mechanism extends Cost {
  /** Largest root mean square of a row's K slopes, nats; with m stripes, √m times that: about the largest norm of its gradient. */
  readonly clip: number;
  /** Rows of the shard times the sampling rate: what the sum is divided by, whatever was drawn. */
  readonly expectedRows: number;
}

/** Indices below `size`, ascending, each with probability `rate` apart from the others (Poisson sampling): none may be. */
export function drawRows(size: number, rate: number, random: RandomSource): number[] {
  if (rate >= 1) return Array.from({ length: size }, (_, i) => i);
  const drawn: number[] = [];
  // How many are passed over until the next one is geometric.
  const gap = (): number => Math.floor(Math.log(random()) / Math.log1p(-rate));
  for (let i = gap(); i < size; i += 1 + gap()) drawn.push(i);
  return drawn;
}

/**
 * Adds a row's slopes `[K]` to `sum`, shortened to the L2 norm clip·√K where they are longer. A row whose slopes are not finite adds
 * nothing: an abstention would tell of it.
 */
export function addClipped(sum: Float64Array, slopes: Float64Array, clip: number): void {
  const bound = clip * Math.sqrt(sum.length);
  const norm = Math.hypot(...slopes);
  if (!Number.isFinite(norm)) return;
  const factor = norm > bound ? bound / norm : 1;
  for (const [k, slope] of slopes.entries()) sum[k]! += factor * slope;
}

/** `sum` `[K]` of clipped rows with noise on each element, divided by the expected number of rows: in place. */
export function addNoise(sum: Float64Array, mechanism: Mechanism, random: RandomSource): Float64Array {
  const { clip, noise, expectedRows } = mechanism;
  const deviation = noise * clip * Math.sqrt(sum.length);
  for (const k of sum.keys()) sum[k] = (sum[k]! + deviation * gaussian(random)) / expectedRows;
  return sum;
}

/** A standard normal number (Box and Muller 1958) in float64. */
const gaussian = (random: RandomSource): number =>
  Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());

/**
 * Projected gradients g of a contribution, float64 `[K]`, of rows of `shard` that are drawn here. Each row is measured alone, so that
 * no rounding of one row depends on another.
 */
export async function privateGradients(
  context: EstimatorContext,
  replica: ReplicaState,
  firstDirection: number,
  shard: readonly TokenRow[],
  mechanism: Mechanism,
  random: RandomSource,
): Promise<Float64Array> {
  const { directions, directionStripes } = context.learning;
  const sum = new Float64Array(directions);
  // A direction meets one element in m.
  const ofSlopes = { ...mechanism, clip: mechanism.clip / Math.sqrt(directionStripes) };
  for (const i of drawRows(shard.length, mechanism.samplingRate, random))
    addClipped(sum, await measureGradients(context, replica, firstDirection, [shard[i]!]), ofSlopes.clip);
  return addNoise(sum, ofSlopes, random);
}
