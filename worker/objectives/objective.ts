/** What a run minimises: the scalar of a row of data, and what an evaluation tells about a split. */
import type { Example } from '../../data/dataset.ts';
import type { Forward } from '../../model/runtime/forward.ts';
import type { TokenRow } from '../../model/token-row.ts';
import type { Counts } from '../../proto/evaluation.ts';

/** @template Result what is known of one example that was evaluated */
export interface Objective<Result> {
  /** The row of `example` whose loss is measured; a minibatch's loss is the mean over its examples, nats. */
  trainingRow(example: Example): TokenRow;
  /** Results of `examples` under one adapter (`theta` as the forward's scratch for G = 1; undefined: the base model), in order. */
  evaluate(forward: Forward, examples: readonly Example[], theta: Float32Array | undefined): Promise<Result[]>;
  /** Sums over `results`, as they travel to the trainer. */
  count(results: readonly Result[]): Counts;
}
