/** `onebyte bench privacy`: what a privacy budget costs in accuracy. In one process: real model, kernels and mechanism, no network. */
import { basename } from 'node:path';
import type { Learning } from '../proto/run-config.ts';
import { Lab } from './lab.ts';
import { describeMachine, type Machine } from './machine.ts';
import { trainPrivately } from './private-worker.ts';
import { rounded } from './rounded.ts';
import { type MeanAndSpread, spread } from './statistics.ts';

export interface PrivacyBenchOptions {
  /** Directory with model/, train.jsonl and dev.jsonl. */
  readonly example: string;
  /** Of each worker's rows; 0: no noise and no clip. Default 0, 8, 4, 2, 1. */
  readonly epsilon?: readonly number[];
  /** K. Default 256. */
  readonly directions?: number;
  /** Default 4, of which each has a quarter of the rows. */
  readonly workers?: number;
  /** Of each worker, at most; the others are left out. Default: all. */
  readonly shard?: number;
  /** Expected rows of a minibatch. Default 25. */
  readonly rows?: number;
  /** Default 40. */
  readonly rounds?: number;
  /** Largest root mean square of a row's slopes, nats. Default 2. */
  readonly clip?: number;
  /** Default 0.5. */
  readonly capExponent?: Learning['capExponent'];
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

export interface PrivacyBench {
  /** Name of the example's directory. */
  readonly example: string;
  readonly rows: readonly PrivacyRow[];
  readonly seeds: number;
  readonly clip: number;
  readonly machine: Machine;
}

export async function benchPrivacy(options: PrivacyBenchOptions): Promise<PrivacyBench> {
  const { epsilon: budgets = [0, 8, 4, 2, 1], seeds = 3, clip = 2, onRow } = options;
  const { directions = 256, workers = 4, rows: expected = 25, rounds = 40 } = options;
  const { capExponent = 0.5, shard: most = Number.POSITIVE_INFINITY } = options;
  const learningRate = 2e-3;
  const estimator = 'backward';
  const learning = { directions, rows: expected, learningRate, capExponent, decayRounds: rounds, estimator } as const;
  const machine = describeMachine();
  const lab = await Lab.open(options.example);
  const dev = await lab.read('dev.jsonl');
  const rows: PrivacyRow[] = [];
  try {
    for (const epsilon of budgets) {
      const begun = performance.now();
      const ends: { accuracy?: number | undefined; loss: number }[] = [];
      let setting = { shard: 0, noise: 0 };
      for (let seed = 1; seed <= seeds; seed++) {
        const trial = await lab.begin({ seed, workers, learning });
        const shards = trial.workers.map((worker) => ({ ...worker, shard: worker.shard.slice(0, most) }));
        const run = await trainPrivately(lab, { ...trial, workers: shards }, { epsilon, clip, rounds });
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
  return { example: basename(options.example), rows, seeds, clip, machine };
}
