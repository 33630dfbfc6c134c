/**
 * Estimator `forward`: g = ∇L·z by forward-mode differentiation (Baydin et al. 2022), what finite differences tend to as
 * ε → 0: their step is ε√m, so the scale is one.
 */

import type { SignedDirections } from '../../model/runtime/signed-feeds.ts';
import type { Estimator, EstimatorContext, Measurement } from './estimator.ts';
import { inPasses, meanOf, meanOverRows } from './passes.ts';
import { signedDirections } from './signed-directions.ts';

export const forward: Estimator = {
  async project(context, measurement) {
    const { rows, directions } = measurement;
    const zeros = new Float32Array(context.layout.elements);
    const losses = new Float64Array(rows.length);
    return inPasses(measurement, context.forward.directionsPerRun(rows, directions), async (part) => {
      const z = await directionsOf(context, part, zeros);
      const slopes = await context.forward.slopes(rows, part.theta, z, losses);
      return { gradients: meanOverRows(slopes, part.directions), loss: meanOf(losses) };
    });
  },
};

/** z of each direction, as sign bits or `[K · d]`, tensor-major: what a step of 1 from an adapter of zeros arrives at. */
async function directionsOf(
  context: EstimatorContext,
  measurement: Measurement,
  zeros: Float32Array,
): Promise<Float32Array | SignedDirections> {
  if (context.forward.signed) return signedDirections(context, measurement);
  const { learning, layout, backend, scratch } = context;
  const { roundKey, firstDirection, directions } = measurement;
  const stripes = learning.directionStripes;
  const z = scratch.take(directions * layout.elements);
  const steps = { layout, theta: zeros, roundKey, firstDirection, directions, step: 1, stripes } as const;
  await backend.perturb({ ...steps, sides: 'plusOnly' }, z);
  return z;
}
