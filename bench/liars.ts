/** `onebyte bench liars`: what workers that lie do to a run, with and without winsorising. In one process, real model and kernels. */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import type { Backend } from '../kernels/backend.ts';
import { absorb, exponentInForce } from '../kernels/learning-rule.ts';
import { applyRecord, initialReplica, type ReplicaState } from '../kernels/replica.ts';
import { initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../kernels/run-replica.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { type RecordEntry, recordOf } from '../proto/record.ts';
import type { RunConfig } from '../proto/run-config.ts';
import { type Dataset, readDataset } from '../worker/data/dataset.ts';
import { type DataOrder, dataOrder } from '../worker/data/order.ts';
import { countResults, evaluateExamples } from '../worker/evaluate.ts';
import { type BaseModel, openBaseModel } from '../worker/model/base-model.ts';
import { createForward, type Forward } from '../worker/model/forward.ts';
import { loadTokenizer } from '../worker/model/tokenizer.ts';
import { measureContribution, Scratch } from '../worker/spsa-step.ts';
import { benchRunConfig } from './run-config.ts';

/** flip: the sign of what it measured; random: any byte that is a number; saturate: ±448. */
export type Lie = 'flip' | 'random' | 'saturate';

export interface LiarsBenchOptions {
  /** Directory of the example: model/, train.jsonl, dev.jsonl. */
  readonly example: string;
  /** Default 50: 4,000 directions. */
  readonly rounds?: number;
  readonly seed?: number;
  /** Percentages of liars beside 0. Default 20, 10, 30. */
  readonly percentages?: readonly number[];
  readonly onRow?: (row: LiarsRow) => void;
}

export interface LiarsRow {
  readonly lie: Lie | 'none';
  /** Workers of ten that lie, as a percentage. */
  readonly liars: number;
  readonly winsorised: boolean;
  /** On the dev split at the end. */
  readonly accuracy: number | undefined;
  readonly loss: number;
  /** Bytes cut to the limit, as a part of the liars' and of the others'. */
  readonly clippedOfLiars: number;
  readonly clippedOfHonest: number;
}

const WORKERS = 10;
/** K. */
const DIRECTIONS = 8;
/** RECIPE's default and one that never cuts. */
const CLIP = { on: 4, off: 2 ** 30 };

interface Lab {
  readonly model: BaseModel;
  readonly backend: Backend;
  readonly forward: Forward;
  readonly shards: readonly { data: Dataset; order: DataOrder }[];
  readonly dev: Dataset;
}

/** Every kind and share of liars, each with and without winsorising. */
export async function benchLiars(
  options: LiarsBenchOptions,
): Promise<{ rows: LiarsRow[]; rounds: number; seed: number }> {
  const { example, rounds = 50, seed = 1, percentages = [20, 10, 30], onRow } = options;
  const model = openBaseModel(join(example, 'model'));
  const config = await benchRunConfig(model, { seed, shards: WORKERS, learning: { directions: DIRECTIONS } });
  const threads = availableParallelism();
  const { backend } = await selectBackend('auto', threads);
  const tokenizer = loadTokenizer(model.directory);
  const read = (name: string, shard?: { shard: number; shards: number }): Dataset =>
    readDataset(join(example, name), tokenizer, config.data, shard);
  const shards = Array.from({ length: WORKERS }, (_, shard) => {
    const data = read('train.jsonl', { shard, shards: WORKERS });
    return { data, order: dataOrder(seed, shard, data.examples.length) };
  });
  const layout = layoutOf(config);
  const forward = await createForward(model, { layout }, { provider: 'cpu', threads, quantize: 'none' });
  const lab: Lab = { model, backend, forward, shards, dev: read('dev.jsonl') };
  const lies = percentages.flatMap((liars) => (['flip', 'random', 'saturate'] as const).map((lie) => ({ lie, liars })));
  const rows: LiarsRow[] = [];
  try {
    for (const { lie, liars } of [{ lie: 'none' as const, liars: 0 }, ...lies])
      for (const winsorised of [true, false]) {
        const row = await run(lab, config, rounds, { lie, liars, winsorised });
        rows.push(row);
        onRow?.(row);
      }
  } finally {
    await forward.close();
    await backend.close();
  }
  return { rows, rounds, seed };
}

async function run(
  lab: Lab,
  base: RunConfig,
  rounds: number,
  trial: Pick<LiarsRow, 'lie' | 'liars' | 'winsorised'>,
): Promise<LiarsRow> {
  const config = { ...base, learning: { ...base.learning, clip: trial.winsorised ? CLIP.on : CLIP.off } };
  const { backend, forward } = lab;
  const [layout, rule] = [layoutOf(config), learningRuleOf(config)];
  const owned = backend.allocate(layout.elements);
  owned.set(trainedPart(layout, initialMatrices(config, Buffer.alloc(0))));
  const scratch = new Scratch(backend);
  const random = seedrandom(`${config.seed}/liars`);
  const liars = Math.round((trial.liars / 100) * WORKERS);
  const clipped = { liars: 0, honest: 0 };
  let replica: ReplicaState = initialReplica(rule, owned);
  for (let round = 0; round < rounds; round++) {
    const entries: RecordEntry[] = [];
    for (const [worker, { data, order }] of lab.shards.entries()) {
      const rows = order(round, config.learning.rows).map((i) => {
        const { options, right } = data.examples[i]!;
        return options[right]!;
      });
      const context = { learning: config.learning, rule, layout, backend, forward, scratch, worker };
      const isLiar = worker < liars;
      const measured =
        isLiar && trial.lie !== 'flip'
          ? Buffer.alloc(config.learning.directions)
          : await measureContribution(context, replica, 0, rows);
      const gradientBytes = isLiar ? measured.map((byte) => lied(trial.lie, byte, random)) : measured;
      entries.push({ staleness: 0, worker, firstDirection: 0, gradientBytes: Buffer.from(gradientBytes) });
    }
    const record = recordOf(round, exponentInForce(replica.normaliser), entries);
    for (const [worker, bytes] of absorb(replica.normaliser, rule, record).step?.clipped ?? [])
      clipped[worker < liars ? 'liars' : 'honest'] += bytes;
    replica = await applyRecord(replica, rule, record, backend);
  }
  const { correct, classified, lossSum } = countResults(
    await evaluateExamples(forward, lab.dev.examples, replica.theta),
  );
  const bytes = (workers: number): number => Math.max(1, workers * rounds * config.learning.directions);
  return {
    ...trial,
    accuracy: classified === 0 ? undefined : correct / classified,
    loss: lossSum / lab.dev.examples.length,
    clippedOfLiars: clipped.liars / bytes(liars),
    clippedOfHonest: clipped.honest / bytes(WORKERS - liars),
  };
}

function lied(lie: LiarsRow['lie'], byte: number, random: () => number): number {
  const sign = random() < 0.5 ? 0 : 0x80;
  if (lie === 'flip') return byte ^ 0x80;
  return lie === 'saturate' ? sign | 0x7e : sign | Math.floor(random() * 0x7f);
}
