/** Estimator `oneSided`: g = (L₊ − L₀)/(ε√m), half the passes of `spsa` and a bias of the order of ε. */
import type { Estimator } from './estimator.ts';
import { inPasses } from './passes.ts';
import { adaptersPerPass, perturbedLosses, stepLength } from './perturbed-losses.ts';

export const oneSided: Estimator = {
  async project(context, measurement) {
    const perPass = Math.max(1, adaptersPerPass(context, measurement, 'plus') - 1);
    return inPasses(measurement, perPass, async (part) => {
      const losses = await perturbedLosses(context, part, 'plus');
      const clean = losses[part.directions]!;
      const ahead = losses.subarray(0, part.directions);
      return { gradients: ahead.map((loss) => (loss - clean) / stepLength(context)), loss: clean };
    });
  },
};
