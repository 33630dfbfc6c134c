/** Estimator `spsa`: g = (L₊ − L₋)/(2ε√m) (Spall 1992; Malladi et al. 2023, algorithm 1). */
import type { Estimator } from './estimator.ts';
import { inPasses, meanOf } from './passes.ts';
import { adaptersPerPass, perturbedLosses, stepLength } from './perturbed-losses.ts';

export const spsa: Estimator = {
  async project(context, measurement) {
    const perPass = Math.max(1, adaptersPerPass(context, measurement, 'both') >> 1);
    return inPasses(measurement, perPass, async (part) => {
      const losses = await perturbedLosses(context, part, 'both');
      const difference = (j: number): number => losses[2 * j]! - losses[2 * j + 1]!;
      const slope = (j: number): number => difference(j) / (2 * stepLength(context));
      return { gradients: Float64Array.from({ length: part.directions }, (_, j) => slope(j)), loss: meanOf(losses) };
    });
  },
};
