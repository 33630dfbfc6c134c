/** One contribution: K projected gradients of a minibatch by simultaneous perturbation, each as one byte. */

import type { AdapterLayout } from '../kernels/adapter-layout.ts';
import { adaptersOf, type Backend, type Perturbation } from '../kernels/backend.ts';
import { powerOfTwo } from '../kernels/float64.ts';
import { exponentInForce, type LearningRule } from '../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../kernels/random-keys.ts';
import type { ReplicaState } from '../kernels/replica.ts';
import type { WordPair } from '../kernels/threefry.ts';
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
  readonly scratch: Scratch;
  readonly worker: number;
}

/** The buffer of perturbed adapters `[G · d]`: as large as the largest forward pass so far needed. */
export class Scratch {
  private readonly backend: Backend;
  private buffer: Float32Array = new Float32Array();

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** The first `elements` of the buffer; what it held may be lost. */
  take(elements: number): Float32Array {
    if (this.buffer.length < elements) this.buffer = this.backend.allocate(elements);
    return this.buffer.subarray(0, elements);
  }
}

/**
 * Measures directions `firstDirection` … + K − 1 at the replica's θ, all on the same `rows`: byte = E4M3(g·2⁻ˢ).
 * @returns K gradient bytes; a direction whose losses are not finite abstains
 */
export async function measureContribution(
  context: SpsaContext,
  replica: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<Buffer> {
  const key = roundKey(context.rule.runKey, replica.normaliser.round, context.worker);
  const scale = powerOfTwo(-exponentInForce(replica.normaliser));
  const gradients = await measureGradients(context, replica, firstDirection, rows);
  return Buffer.from(
    gradients.map((g, j) =>
      Number.isFinite(g * scale) ? encodeE4m3(g * scale, roundingWord(key, firstDirection + j)) : ABSTAIN,
    ),
  );
}

/**
 * g = (L₊ − L₋)/(2ε√m), or (L₊ − L₀)/(ε√m) one-sided (Spall 1992; Malladi et al. 2023, algorithm 1), L the mean over the
 * rows of the summed negative log likelihood of the completion, nats.
 * @returns K projected gradients, float64; not finite where a loss is not
 */
export async function measureGradients(
  context: SpsaContext,
  replica: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<number[]> {
  const { learning, rule, forward, worker } = context;
  const { directions, estimator } = learning;
  const key = roundKey(rule.runKey, replica.normaliser.round, worker);
  const sides = estimator === 'spsa' ? 'both' : 'plus';
  const perRun = forward.adaptersPerRun(rows, adaptersOf({ directions, sides }));
  const directionsPerRun = Math.max(1, sides === 'both' ? perRun >> 1 : perRun - 1);
  const gradients: number[] = [];
  for (let j = 0; j < directions; j += directionsPerRun) {
    const count = Math.min(directionsPerRun, directions - j);
    gradients.push(...(await projectedGradients(context, replica.theta, key, firstDirection + j, count, sides, rows)));
  }
  return gradients;
}

/** Projected gradients of `directions` directions in one forward pass, float64 `[directions]`. */
async function projectedGradients(
  { learning, layout, backend, forward, scratch }: SpsaContext,
  theta: Float32Array,
  key: WordPair,
  firstDirection: number,
  directions: number,
  sides: Perturbation['sides'],
  rows: readonly TokenRow[],
): Promise<number[]> {
  const { epsilon, directionStripes: stripes } = learning;
  const length = epsilon * Math.sqrt(stripes);
  const adapters = adaptersOf({ directions, sides });
  const perturbed = scratch.take(adapters * layout.elements);
  const step = Math.fround(length);
  await backend.perturb({ layout, theta, roundKey: key, firstDirection, directions, step, stripes, sides }, perturbed);
  const losses = meanOverRows(await forward.losses(rows, adapters, perturbed), adapters);
  return Array.from({ length: directions }, (_, j) =>
    sides === 'both'
      ? (losses[2 * j]! - losses[2 * j + 1]!) / (2 * length)
      : (losses[j]! - losses[directions]!) / length,
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
