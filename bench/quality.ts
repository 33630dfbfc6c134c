/** `onebyte bench quality`: what finished runs were worth on the test split: before, and with the checkpoint that was best on dev. */

import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { readDataset } from '../data/dataset.ts';
import { readPeftAdapter } from '../formats/peft-adapter.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { openBaseModel } from '../model/base-model.ts';
import { createForward } from '../model/runtime/forward.ts';
import { loadTokenizer } from '../model/tokenizer/tokenizer.ts';
import { figuresOf } from '../proto/evaluation.ts';
import { usageError } from '../proto/operating-error.ts';
import type { DataRules, Learning } from '../proto/run-config.ts';
import type { MetricsLine } from '../trainer/metrics/line.ts';
import { metricsFile, readMetrics } from '../trainer/metrics/metrics-file.ts';
import { bestOf } from '../trainer/store/checkpoint.ts';
import { checkpointsOf } from '../trainer/store/open-run.ts';
import { completionLoss } from '../worker/objectives/completion-loss.ts';
import { describeMachine, type Machine } from './machine.ts';
import { rounded } from './rounded.ts';

/** A finished run: its directory, and what its run file says. */
export interface FinishedRun {
  readonly directory: string;
  readonly model: string;
  readonly test: string;
  readonly data: DataRules;
  readonly learning: Pick<Learning, 'estimator' | 'directions'>;
  readonly seed: number;
  readonly threads: number;
}

export interface QualityRow {
  readonly run: string;
  readonly estimator: Learning['estimator'];
  /** K of a contribution. */
  readonly directions: number;
  readonly seed: number;
  readonly before: Score;
  readonly after: Score;
  readonly rounds: number;
  /** Applied: directions. */
  readonly gradients: number;
  /** From the first record to the last. */
  readonly minutes: number;
  /** Socket bytes of one worker in the whole run, its join included. */
  readonly sentByWorker: number;
  readonly receivedByWorker: number;
  /** On the dev split. */
  readonly curve: readonly CurvePoint[];
}

/** Of the dev split after `round` records, `minutes` after the first. */
interface CurvePoint {
  readonly round: number;
  readonly minutes: number;
  readonly accuracy?: number;
  readonly loss?: number;
}

interface Score {
  readonly accuracy?: number;
  /** Nats. */
  readonly loss: number;
}

export interface QualityBench {
  readonly rows: readonly QualityRow[];
  readonly machine: Machine;
}

export async function benchQuality(
  runs: readonly FinishedRun[],
  onRow?: (row: QualityRow) => void,
): Promise<QualityBench> {
  const machine = describeMachine();
  const before = new Map<string, Score>();
  const rows: QualityRow[] = [];
  for (const run of runs) {
    const start = `${run.model}\n${run.test}`;
    if (!before.has(start)) before.set(start, await score(run, undefined));
    const after = await score(run, bestOf(checkpointsOf(run.directory)));
    const row = rounded({ ...course(run), before: before.get(start)!, after });
    rows.push(row);
    onRow?.(row);
  }
  return { rows, machine };
}

async function score(
  { model: directory, test, data, threads }: FinishedRun,
  adapter: string | undefined,
): Promise<Score> {
  const model = openBaseModel(directory);
  const peft = adapter === undefined ? undefined : readPeftAdapter(adapter, model.linearModules);
  const layout = peft && adapterLayout(peft.description.modules);
  const forward = await createForward(model, layout && { layout }, { provider: 'cpu', threads, quantize: 'none' });
  try {
    const tokenizer = await loadTokenizer(directory, model.vocabularySize);
    const { examples } = await readDataset(test, tokenizer, data);
    tokenizer.close();
    const results = await completionLoss.evaluate(forward, examples, peft?.matrices);
    const { loss = Number.NaN, accuracy } = figuresOf(completionLoss.count(results));
    return { ...(accuracy !== undefined && { accuracy }), loss };
  } finally {
    await forward.close();
  }
}

/** What metrics.jsonl knows. */
function course({ directory, learning, seed }: FinishedRun): Omit<QualityRow, 'before' | 'after'> {
  const file = metricsFile(directory);
  if (!existsSync(file)) throw usageError(`${file}: missing; expected the directory of a run`);
  const lines = Array.from(readMetrics(file), ({ line }) => line);
  const rounds = lines.filter((line): line is Extract<MetricsLine, { kind: 'round' }> => line.kind === 'round');
  const [first, last] = [rounds[0], rounds.at(-1)];
  if (!first || !last) throw usageError(`${file}: holds no round`);
  const workers = rounds.reduce((most, { members }) => Math.max(most, members), 1);
  const { up, down } = last.wire ?? { up: Number.NaN, down: Number.NaN };
  return {
    run: basename(directory),
    estimator: learning.estimator,
    directions: learning.directions,
    seed,
    rounds: last.round,
    gradients: rounds.reduce((sum, { gradients }) => sum + gradients, 0),
    minutes: (last.at - first.at) / 60_000,
    sentByWorker: up / workers,
    receivedByWorker: down / workers,
    curve: lines.flatMap((line) => {
      if (line.kind !== 'evaluation') return [];
      const { round, at, accuracy, loss } = line;
      return [
        {
          round,
          minutes: Math.max(0, at - first.at) / 60_000,
          ...(accuracy !== undefined && { accuracy }),
          ...(loss !== undefined && { loss }),
        },
      ];
    }),
  };
}
