/**
 * Estimator `backward`: g = ∇L·z, where ∇L is computed once by reverse mode. What `forward` measures, at the cost of some two
 * forward passes however many directions there are; needs memory for what is kept until it has been gone back through.
 */
import type { Estimator } from './estimator.ts';

export const backward: Estimator = {
  async projectedGradients({ learning, forward, backend }, { theta, roundKey, firstDirection, directions, rows }) {
    const gradient = await forward.gradient(rows, theta);
    return await backend.project(gradient, roundKey, firstDirection, directions, learning.directionStripes);
  },
};
