/** Observations of a run, made up or real, for tests of what shows them. */
import type { TestContext } from 'node:test';
import type { EvaluationLine, Observation, RoundLine, RunDescription } from '../../trainer/metrics/line.ts';
import { openMetrics, type RunMetrics } from '../../trainer/metrics/run-metrics.ts';
import { protocolWorker } from './protocol-worker.ts';
import { smallRunConfig, smallSettings } from './small-run.ts';
import { testTrainer } from './test-trainer.ts';

export const RUN: RunDescription = {
  name: 'observed',
  rounds: 1000,
  adapterElements: 512,
  shards: 4,
  devRows: 10,
  config: { ...smallRunConfig(), trainer: smallSettings() },
};

/** Round `round` of two workers with eight bytes each. */
export const roundLine = (round: number, change: Partial<RoundLine> = {}): RoundLine => ({
  kind: 'round',
  at: 1000 * round,
  round,
  gradients: 16,
  contributions: 2,
  clipped: 1,
  members: 2,
  ms: 40,
  exponent: -2,
  rms: 1.5,
  payloadBytes: 16,
  buckets: Array.from({ length: 33 }, (_, i) => (i < 16 ? 1 : 0)),
  answerMs: 20,
  slowest: [[1, 35]],
  missing: [],
  missed: 0,
  wire: { up: 100 * round, down: 200 * round },
  ...change,
});

/** An evaluation after `round` records, better than all before. */
export const evaluationLine = (round: number): EvaluationLine => ({
  kind: 'evaluation',
  at: 1000 * round,
  round,
  rows: 10,
  loss: 1 / (1 + round),
  best: true,
});

export const START: Extract<Observation, { kind: 'start' }> = { kind: 'start', at: 500, round: 0, run: RUN };

/** Metrics in `directory` with a clock that moves a second with each look. */
export function testMetrics(directory: string): Promise<RunMetrics> {
  let seconds = 0;
  const now = (): number => 1000 * ++seconds;
  const onError = (error: Error): void => {
    throw error;
  };
  return openMetrics({ directory, run: RUN, now, onError });
}

/** Metrics in `directory` of a run there that is over: 12 rounds of one worker. */
export async function observedRun(test: TestContext, directory: string): Promise<RunMetrics> {
  const metrics = await testMetrics(directory);
  metrics.begin(0);
  const onReport: typeof metrics.onReport = (report, wire) => metrics.onReport(report, wire);
  const trainer = await testTrainer(test, { directory, rounds: 12, onReport });
  await protocolWorker(trainer.address, { name: 'w', config: trainer.config });
  await metrics.end((await trainer.result).exitCode, 'done');
  return metrics;
}
