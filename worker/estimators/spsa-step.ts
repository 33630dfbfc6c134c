/** One contribution: K projected gradients of a minibatch, by simultaneous perturbation or forward-mode differentiation, each as one byte. */

import assert from 'node:assert/strict';
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import { adaptersOf, type Backend } from '../../kernels/backend.ts';
import { powerOfTwo } from '../../kernels/float64.ts';
import { exponentInForce, type LearningRule } from '../../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../../kernels/random-keys.ts';
import type { ReplicaState } from '../../kernels/replica.ts';
import type { WordPair } from '../../kernels/threefry.ts';
import type { Forward } from '../../model/runtime/forward.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { ABSTAIN, encodeE4m3 } from '../../proto/e4m3.ts';
import type { Learning } from '../../proto/run-config.ts';

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

/** The buffer of perturbed adapters or directions `[G · d]`: as large as the largest forward pass so far needed. */
export class Scratch {
  private readonly backend: Backend;
  private buffer: Float32Array = new Float32Array();
  private origin: Float32Array = new Float32Array();

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** The first `elements` of the buffer; what it held may be lost. */
  take(elements: number): Float32Array {
    if (this.buffer.length < elements) this.buffer = this.backend.allocate(elements);
    return this.buffer.subarray(0, elements);
  }

  /** An adapter of zeros. */
  zeros(elements: number): Float32Array {
    if (this.origin.length < elements) this.origin = this.backend.allocate(elements);
    return this.origin.subarray(0, elements);
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
  const key = roundKey(context.rule.seedKey, replica.normaliser.round, context.worker);
  const scale = powerOfTwo(-exponentInForce(replica.normaliser));
  const gradients = await measureGradients(context, replica, firstDirection, rows);
  return Buffer.from(
    gradients.map((g, j) =>
      Number.isFinite(g * scale) ? encodeE4m3(g * scale, roundingWord(key, firstDirection + j)) : ABSTAIN,
    ),
  );
}

/**
 * Projected gradients g, float64 `[K]`. L is the mean over the rows of the summed negative log likelihood of the completion,
 * nats. By estimator g is
 * - spsa: (L₊ − L₋)/(2ε√m) (Spall 1992; Malladi et al. 2023, algorithm 1);
 * - oneSided: (L₊ − L₀)/(ε√m);
 * - forward: ∇L·z (Baydin et al. 2022), what the others tend to as ε → 0: their step is ε√m, so all three have one scale.
 * @returns not finite where losses or slope are not
 */
export async function measureGradients(
  context: SpsaContext,
  replica: ReplicaState,
  firstDirection: number,
  rows: readonly TokenRow[],
): Promise<number[]> {
  const { learning, rule, worker } = context;
  const { directions, estimator } = learning;
  const key = roundKey(rule.seedKey, replica.normaliser.round, worker);
  const gradientsOf = estimator === 'forward' ? slopes : finiteDifferences;
  // Runs of equal size: a short one at the end would be the least efficient.
  const atOnce = Math.ceil(directions / Math.ceil(directions / directionsPerRun(context, rows)));
  const gradients: number[] = [];
  for (let j = 0; j < directions; j += atOnce) {
    const count = Math.min(atOnce, directions - j);
    gradients.push(...(await gradientsOf(context, replica.theta, key, firstDirection + j, count, rows)));
  }
  return gradients;
}

function directionsPerRun({ learning, forward }: SpsaContext, rows: readonly TokenRow[]): number {
  const { directions, estimator } = learning;
  if (estimator === 'forward') return forward.directionsPerRun(rows, directions);
  const sides = SIDES[estimator];
  const adapters = forward.adaptersPerRun(rows, adaptersOf({ directions, sides }));
  return Math.max(1, sides === 'both' ? adapters >> 1 : adapters - 1);
}

const SIDES = { spsa: 'both', oneSided: 'plus' } as const;

/** Projected gradients of `directions` directions from losses of perturbed adapters in one forward pass, float64 `[directions]`. */
async function finiteDifferences(
  { learning, layout, backend, forward, scratch }: SpsaContext,
  theta: Float32Array,
  key: WordPair,
  firstDirection: number,
  directions: number,
  rows: readonly TokenRow[],
): Promise<Float64Array> {
  const { epsilon, directionStripes: stripes, estimator } = learning;
  assert(estimator !== 'forward');
  const sides = SIDES[estimator];
  const length = epsilon * Math.sqrt(stripes);
  const adapters = adaptersOf({ directions, sides });
  const perturbed = scratch.take(adapters * layout.elements);
  const step = Math.fround(length);
  await backend.perturb({ layout, theta, roundKey: key, firstDirection, directions, step, stripes, sides }, perturbed);
  const losses = meanOverRows(await forward.losses(rows, adapters, perturbed), adapters);
  return Float64Array.from({ length: directions }, (_, j) =>
    sides === 'both'
      ? (losses[2 * j]! - losses[2 * j + 1]!) / (2 * length)
      : (losses[j]! - losses[directions]!) / length,
  );
}

/** Projected gradients of `directions` directions as derivatives, float64 `[directions]`. */
async function slopes(
  { learning, layout, backend, forward, scratch }: SpsaContext,
  theta: Float32Array,
  key: WordPair,
  firstDirection: number,
  directions: number,
  rows: readonly TokenRow[],
): Promise<Float64Array> {
  const { directionStripes: stripes } = learning;
  const z = scratch.take(directions * layout.elements);
  // The directions themselves: 0 + 1·z.
  const origin = scratch.zeros(layout.elements);
  const perturbation = { layout, theta: origin, roundKey: key, firstDirection, directions, step: 1, stripes } as const;
  await backend.perturb({ ...perturbation, sides: 'plusOnly' }, z);
  return meanOverRows(await forward.slopes(rows, theta, z), directions);
}

/** Losses or slopes `[G · rows]` → `[G]`. */
function meanOverRows(losses: Float64Array, adapters: number): Float64Array {
  const rows = losses.length / adapters;
  return Float64Array.from({ length: adapters }, (_, g) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += losses[g * rows + row]!;
    return sum / rows;
  });
}
