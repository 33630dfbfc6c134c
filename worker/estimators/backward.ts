/**
 * Estimator `backward`: g = ∇L·z, where ∇L is computed once by reverse mode. What `forward` measures, at the cost of some two
 * forward passes however many directions there are; needs memory for what is kept until it has been gone back through.
 */
import type { Estimator } from './estimator.ts';
import { meanOf } from './passes.ts';

export const backward: Estimator = {
  async project({ learning, forward, backend }, { theta, roundKey, firstDirection, directions, rows }) {
    const losses = new Float64Array(rows.length);
    const gradient = await forward.gradient(rows, theta, losses);
    const stripes = learning.directionStripes;
    const gradients = await backend.project(gradient, roundKey, firstDirection, directions, stripes);
    return { gradients, loss: meanOf(losses) };
  },
};
