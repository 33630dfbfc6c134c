/** What an estimator is. The files beside this one each hold one. */
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import type { Backend } from '../../kernels/backend.ts';
import type { LearningRule } from '../../kernels/learning-rule.ts';
import type { WordPair } from '../../kernels/threefry.ts';
import type { Forward } from '../../model/runtime/forward.ts';
import type { TokenRow } from '../../model/token-row.ts';
import type { Learning } from '../../proto/run-config.ts';
import type { Scratch } from './scratch.ts';

/** What stays the same over all contributions of a worker. */
export interface EstimatorContext {
  readonly learning: Learning;
  readonly rule: LearningRule;
  readonly layout: AdapterLayout;
  readonly backend: Backend;
  /** With tangents where the estimator asks for slopes. */
  readonly forward: Forward;
  readonly scratch: Scratch;
  readonly worker: number;
}

/** What one contribution measures. */
export interface Measurement {
  /** θ `[d]`, read only. */
  readonly theta: Float32Array;
  /** Key of (run seed, round, worker). */
  readonly roundKey: WordPair;
  readonly firstDirection: number;
  /** K. */
  readonly directions: number;
  /** The minibatch, the same for all directions. */
  readonly rows: readonly TokenRow[];
}

/** What a measurement gives. */
export interface Projected {
  /** Projected gradients g, float64 `[K]`; not finite where a loss or a derivative is not. */
  readonly gradients: Float64Array;
  /** L as it was measured on the way: at θ, or the mean over both sides of the directions. For people alone; no byte depends on it. */
  readonly loss: number;
}

/**
 * A way to measure the slopes of L, the mean over the minibatch of the summed negative log-likelihood of the completion
 * (nats), at θ along K directions. All have one scale: z is the ±1 of its stripes, unscaled.
 */
export interface Estimator {
  project(context: EstimatorContext, measurement: Measurement): Promise<Projected>;
}
