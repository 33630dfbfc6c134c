/** `onebyte bench privacy`: what a privacy budget costs in accuracy. In one process: real model, kernels and mechanism, no network. */
import { applyRecord } from '../kernels/replica.ts';
import type { RecordEntry } from '../proto/record.ts';
import { Lab, nextRecord, type Trial } from './lab.ts';
import { describeMachine, type Machine } from './machine.ts';
import { mechanismOf, privateEntry } from './private-worker.ts';
import { rounded } from './rounded.ts';
import { type MeanAndSpread, spread } from './statistics.ts';

export interface PrivacyBenchOptions {
  /** Directory with model/, train.jsonl and dev.jsonl. */
  readonly example: string;
  /** Of each worker's rows; 0: no noise and no clip. Default 0, 8, 4, 2, 1. */
  readonly epsilons?: readonly number[];
  /** K. Default 256. */
  readonly directions?: number;
  /** Default 4, of which each has a quarter of the rows. */
  readonly workers?: number;
  /** Expected rows of a minibatch. Default 25. */
  readonly rows?: number;
  /** Default 40. */
  readonly rounds?: number;
  /** Largest root mean square of a row's slopes, nats. Default 2. */
  readonly clip?: number;
  readonly learningRate?: number;
  /** Default 3. */
  readonly seeds?: number;
  readonly onRow?: (row: PrivacyRow) => void;
}

export interface PrivacyRow {
  /** Of δ 1e-5; 0: no budget. */
  readonly epsilon: number;
  readonly directions: number;
  readonly workers: number;
  /** Of each worker, and of a minibatch. */
  readonly shard: number;
  readonly rows: number;
  readonly rounds: number;
  /** In clips, of the sum. */
  readonly noise: number;
  /** On the dev split at the end. */
  readonly accuracy: MeanAndSpread;
  readonly loss: MeanAndSpread;
  readonly seconds: number;
}

export async function benchPrivacy(
  options: PrivacyBenchOptions,
): Promise<{ rows: PrivacyRow[]; seeds: number; clip: number; machine: Machine }> {
  const { epsilons = [0, 8, 4, 2, 1], seeds = 3, clip = 2, onRow } = options;
  const machine = describeMachine();
  const lab = await Lab.open(options.example);
  const dev = await lab.read('dev.jsonl');
  const rows: PrivacyRow[] = [];
  try {
    for (const epsilon of epsilons) {
      const begun = performance.now();
      const ends: { accuracy?: number | undefined; loss: number }[] = [];
      const { directions = 256, workers = 4, rows: expected = 25, rounds = 40, learningRate = 2e-3 } = options;
      const learning = {
        directions,
        rows: expected,
        learningRate,
        decayRounds: rounds,
        estimator: 'backward',
      } as const;
      let setting = { shard: 0, noise: 0 };
      for (let seed = 1; seed <= seeds; seed++) {
        const trial = await lab.begin({ seed, workers, learning });
        const run = await train(lab, trial, { epsilon, clip, rounds });
        setting = run;
        ends.push(await trial.evaluate(run.theta, dev));
      }
      const row = rounded({
        ...{ epsilon, directions, workers, shard: setting.shard, rows: expected, rounds, noise: setting.noise },
        accuracy: spread(ends.map(({ accuracy = Number.NaN }) => accuracy)),
        loss: spread(ends.map(({ loss }) => loss)),
        seconds: (performance.now() - begun) / 1000,
      });
      rows.push(row);
      onRow?.(row);
    }
  } finally {
    await lab.close();
  }
  return { rows, seeds, clip, machine };
}

/** A run in which all workers have the same budget; without one rows are drawn in the same way. */
async function train(
  lab: Lab,
  { rule, workers, ...start }: Trial,
  { epsilon, clip, rounds }: { epsilon: number; clip: number; rounds: number },
): Promise<{ theta: Float32Array; shard: number; noise: number }> {
  const { rows } = workers[0]!.context.learning;
  // Shards differ by a row at most: the smallest has the largest rate.
  const size = Math.min(...workers.map(({ shard }) => shard.length));
  const mechanism = mechanismOf(epsilon, clip, { size, rows }, rounds);
  let { replica } = start;
  for (let round = 0; round < rounds; round++) {
    const entries: RecordEntry[] = [];
    for (const { context, shard } of workers) entries.push(await privateEntry(context, replica, shard, mechanism));
    replica = await applyRecord(replica, rule, nextRecord(replica, entries), lab.backend);
  }
  return { theta: replica.theta, shard: size, noise: mechanism.noise };
}
