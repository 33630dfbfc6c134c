/** One contribution: K projected gradients of a minibatch by simultaneous perturbation, each as one byte. */

import type { AdapterLayout } from '../kernels/adapter-layout.ts';
import { adaptersOf, type Backend, type Perturbation } from '../kernels/backend.ts';
import { powerOfTwo } from '../kernels/float64.ts';
import { exponentInForce, type LearningRule } from '../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../kernels/random-keys.ts';
import type { ReplicaState } from '../kernels/replica.ts';
import { ABSTAIN, encodeE4m3 } from '../proto/e4m3.ts';
import type { Learning } from '../proto/run-config.ts';
import type { TokenRow } from './data/token-row.ts';
import type { Forward } from './model/forward.ts';

/** What stays the same over all contributions of a worker. */
export interface SpsaContext {
  readonly learning: Learning;
  readonly rule: LearningRule;
  readonly layout: AdapterLayout;
  readonly backend: Backend;
  readonly forward: Forward;
  /** `[G · d]`, see `scratchElements`. */
  readonly scratch: Float32Array;
  readonly worker: number;
}

const sidesOf = ({ estimator }: Learning): Perturbation['sides'] => (estimator === 'spsa' ? 'both' : 'plus');

/** Length of the scratch buffer that holds all perturbed adapters of a contribution. */
export const scratchElements = (learning: Learning, layout: AdapterLayout): number =>
  adaptersOf({ directions: learning.directions, sides: sidesOf(learning) }) * layout.elements;

/**
 * Measures directions `firstDirection` … + K − 1 at the replica's θ, all on the same `rows`.
 * g = (L₊ − L₋)/(2ε√m), or (L₊ − L₀)/(ε√m) one-sided (Spall 1992; Malladi et al. 2023, algorithm 1), L the mean over the
 * rows of the summed negative log likelihood of the completion, nats; byte = E4M3(g·2⁻ˢ).
 * @returns K gradient bytes; a direction whose losses are not finite abstains
 */
export async function measureContribution(
  context: SpsaContext,
  replica: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<Buffer> {
  const { learning, rule, layout, backend, forward, scratch, worker } = context;
  const { directions, epsilon, directionStripes: stripes } = learning;
  const key = roundKey(rule.runKey, replica.normaliser.round, worker);
  const length = epsilon * Math.sqrt(stripes);
  const sides = sidesOf(learning);
  await backend.perturb(
    {
      layout,
      theta: replica.theta,
      roundKey: key,
      firstDirection,
      directions,
      step: Math.fround(length),
      stripes,
      sides,
    },
    scratch,
  );
  const adapters = adaptersOf({ directions, sides });
  const losses = meanOverRows(await forward.losses(rows, adapters, scratch), adapters);
  const scale = powerOfTwo(-exponentInForce(replica.normaliser));
  return Buffer.from(
    Uint8Array.from({ length: directions }, (_, j) => {
      const g =
        sides === 'both'
          ? (losses[2 * j]! - losses[2 * j + 1]!) / (2 * length)
          : (losses[j]! - losses[directions]!) / length;
      return Number.isFinite(g * scale) ? encodeE4m3(g * scale, roundingWord(key, firstDirection + j)) : ABSTAIN;
    }),
  );
}

/** `[G · rows]` → `[G]`. */
function meanOverRows(losses: Float64Array, adapters: number): Float64Array {
  const rows = losses.length / adapters;
  return Float64Array.from({ length: adapters }, (_, g) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += losses[g * rows + row]!;
    return sum / rows;
  });
}
