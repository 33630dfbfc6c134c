/** What the two finite differences share: a step along each direction, and the losses there. */
import { adaptersOf, type Perturbation } from '../../kernels/backend.ts';
import type { Move } from '../../model/runtime/signed-feeds.ts';
import type { EstimatorContext, Measurement } from './estimator.ts';
import { meanOverRows } from './passes.ts';
import { signedDirections } from './signed-directions.ts';

/** ε√m: the length of the step along each non-zero element of a direction. */
export const stepLength = ({ learning }: Pick<EstimatorContext, 'learning'>): number =>
  learning.epsilon * Math.sqrt(learning.directionStripes);

/** How many adapters one pass takes, of those that all directions of the measurement need. */
export const adaptersPerPass = (
  { forward }: EstimatorContext,
  { rows, directions }: Measurement,
  sides: Perturbation['sides'],
): number => forward.adaptersPerRun(rows, adaptersOf({ directions, sides }));

/** The steps of a perturbation, in the order of its adapters. */
export function movesOf(
  context: Pick<EstimatorContext, 'learning'>,
  directions: number,
  sides: Perturbation['sides'],
): Move[] {
  const step = Math.fround(stepLength(context));
  const steps = sides === 'both' ? [step, -step] : [step];
  const moves = Array.from({ length: directions }, (_, direction) => steps.map((step) => ({ direction, step }))).flat();
  return sides === 'plus' ? [...moves, { direction: 0, step: 0 }] : moves;
}

/** L of each perturbed adapter, float64 `[G]`, in the order of `sides`. */
export async function perturbedLosses(
  context: EstimatorContext,
  { theta, roundKey, firstDirection, directions, rows }: Measurement,
  sides: Perturbation['sides'],
): Promise<Float64Array> {
  const { learning, layout, backend, forward, scratch } = context;
  const adapters = adaptersOf({ directions, sides });
  if (forward.signed) {
    const z = await signedDirections(context, { roundKey, firstDirection, directions });
    return meanOverRows(await forward.lossesAround(rows, theta, z, movesOf(context, directions, sides)), adapters);
  }
  const perturbed = scratch.take(adapters * layout.elements);
  const [step, stripes] = [Math.fround(stepLength(context)), learning.directionStripes];
  await backend.perturb({ layout, theta, roundKey, firstDirection, directions, step, stripes, sides }, perturbed);
  return meanOverRows(await forward.losses(rows, adapters, perturbed), adapters);
}
