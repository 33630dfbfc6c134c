/** One contribution: K projected gradients of a minibatch, each as one byte. */
import { powerOfTwo } from '../../kernels/float64.ts';
import { exponentInForce } from '../../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../../kernels/random-keys.ts';
import type { ReplicaState } from '../../kernels/replica.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { ABSTAIN, encodeE4m3 } from '../../proto/e4m3.ts';
import type { Learning } from '../../proto/run-config.ts';
import { backward } from './backward.ts';
import type { Estimator, EstimatorContext, Projected } from './estimator.ts';
import { forward } from './forward.ts';
import { oneSided } from './one-sided.ts';
import { spsa } from './spsa.ts';

const ESTIMATORS: { readonly [name in Learning['estimator']]: Estimator } = { spsa, oneSided, forward, backward };

/**
 * Measures directions `firstDirection` … + K − 1 at the replica's θ, all on the same `rows`: byte = E4M3(g·2⁻ˢ).
 * @returns K gradient bytes, a direction whose losses are not finite abstains; and the loss of the rows, nats a row
 */
export async function measureContribution(
  context: EstimatorContext,
  replica: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<{ gradientBytes: Buffer; loss: number }> {
  const { gradients, loss } = await project(context, replica, firstDirection, rows);
  return { gradientBytes: gradientBytes(context, replica, firstDirection, gradients), loss };
}

/** Projected gradients g `[K]` of directions `firstDirection` … as bytes: E4M3(g·2⁻ˢ); one that is not finite abstains. */
export function gradientBytes(
  { rule, worker }: EstimatorContext,
  { normaliser }: ReplicaState,
  firstDirection: number,
  gradients: Float64Array,
): Buffer {
  const key = roundKey(rule.seedKey, normaliser.round, worker);
  const scale = powerOfTwo(-exponentInForce(normaliser));
  return Buffer.from(
    Array.from(gradients, (g, j) =>
      Number.isFinite(g * scale) ? encodeE4m3(g * scale, roundingWord(key, firstDirection + j)) : ABSTAIN,
    ),
  );
}

/** Projected gradients g of a contribution, float64 `[K]`, before they become bytes. */
export async function measureGradients(...measurement: Parameters<typeof measureContribution>): Promise<Float64Array> {
  return (await project(...measurement)).gradients;
}

function project(
  context: EstimatorContext,
  { theta, normaliser }: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<Projected> {
  const { learning, rule, worker } = context;
  const { directions, estimator } = learning;
  const measurement = { theta, roundKey: roundKey(rule.seedKey, normaliser.round, worker), firstDirection, directions };
  return ESTIMATORS[estimator].project(context, { ...measurement, rows });
}
