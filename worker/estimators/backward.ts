/**
 * Estimator `backward`: g = ∇L·z, where ∇L is computed once by reverse mode. What `forward` measures, at the cost of some two
 * forward passes however many directions there are; needs memory for what is kept until it has been gone back through.
 */
import { direction } from '../../kernels/direction.ts';
import type { Estimator } from './estimator.ts';

export const backward: Estimator = {
  async projectedGradients({ learning, forward }, { theta, roundKey, firstDirection, directions, rows }) {
    const gradient = await forward.gradient(rows, theta);
    return Float64Array.from({ length: directions }, (_, j) => {
      const z = direction(roundKey, firstDirection + j, gradient.length, learning.directionStripes);
      return gradient.reduce((sum, slope, i) => sum + slope * z[i]!, 0);
    });
  },
};
