/** The Prometheus exposition of a run. Names, types and units are documented in docs/seeing.md. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { pace, type RunHistory } from './history.ts';
import type { WorkerRow } from './line.ts';
import type { MetricsSink } from './run-metrics.ts';

/** Upper ends of round durations, seconds. */
const DURATIONS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export interface Exposition extends MetricsSink {
  /** The text of `/metrics`. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** A registry of its own, filled from `history` when it is read. */
export function createExposition(history: RunHistory): Exposition {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const duration = new Histogram({
    name: 'onebyte_round_duration_seconds',
    help: 'From the opening of a round to its commit',
    buckets: DURATIONS,
    registers,
  });
  addCounters(registry, history);
  addGauges(registry, history);
  addWorkers(registry, history);
  return {
    onObservation(seen) {
      if (seen.kind === 'round' && seen.ms !== undefined) duration.observe(seen.ms / 1000);
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
    close: async () => registry.clear(),
  };
}

function addCounters(registry: Registry, history: RunHistory): void {
  const { totals } = history;
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  counter('onebyte_rounds_total', 'Records committed since the run began', () => history.round);
  counter('onebyte_gradients_total', 'Live gradient bytes applied', () => totals.gradients);
  counter('onebyte_contributions_total', 'Contributions in committed records', () => totals.contributions);
  counter('onebyte_clipped_gradients_total', 'Gradient bytes cut to the winsorising limit', () => totals.clipped);
  counter('onebyte_late_contributions_total', 'Contributions that came too late to count', () => totals.late);
  counter('onebyte_missed_answers_total', 'Answers that a round did not wait for any longer', () => totals.missed);
  counter('onebyte_payload_bytes_total', 'Gradient bytes in committed records', () => totals.payloadBytes);
  counter('onebyte_received_bytes_total', 'Socket bytes received from all peers', () => totals.wireUp);
  counter('onebyte_sent_bytes_total', 'Socket bytes sent to all peers', () => totals.wireDown);
  counter('onebyte_trainer_starts_total', 'Trainers that opened the run', () => history.starts);
}

function addGauges(registry: Registry, history: RunHistory): void {
  const gauge = (name: string, help: string, read: () => number | undefined): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  };
  gauge('onebyte_rounds_target', 'Records after which the run is done', () => history.run?.rounds);
  gauge('onebyte_rounds_per_second', 'Pace of the recent rounds', () => pace(history).roundsPerSecond);
  gauge('onebyte_remaining_seconds', 'Expected time to the end of the run', () => pace(history).secondsLeft);
  gauge('onebyte_waiting', '1 while the trainer waits for workers', () => Number(history.state === 'waiting'));
  const last = () => history.evaluations.at(-1);
  const training = () => history.recent.at(-1)?.trainingLoss;
  gauge('onebyte_dev_loss_nats', 'Loss of the last evaluation, a row', () => last()?.loss);
  gauge('onebyte_dev_loss_per_token_nats', 'Loss of the last evaluation, a token', () => last()?.lossPerToken);
  gauge('onebyte_dev_accuracy_ratio', 'Accuracy of the last evaluation', () => last()?.accuracy);
  gauge('onebyte_training_loss_nats', 'Loss of the last minibatches, a row', () => training()?.perRow);
  gauge('onebyte_training_loss_per_token_nats', 'Loss of the last minibatches, a token', () => training()?.perToken);
  gauge('onebyte_best_round', 'Round of the best evaluation', () => history.best?.round);
  gauge('onebyte_learning_rate', 'Learning rate of the last record', () => history.recent.at(-1)?.learningRate);
  gauge('onebyte_gradient_rms', 'Root mean square of the projected gradients', () => history.recent.at(-1)?.rms);
  new Gauge({
    name: 'onebyte_workers',
    help: 'Workers by state',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      for (const state of ['joining', 'active', 'disconnected'])
        this.set({ state }, [...history.workers.values()].filter((row) => row.state === state).length);
    },
  });
}

function addWorkers(registry: Registry, history: RunHistory): void {
  const each = (name: string, help: string, read: (row: WorkerRow) => number | undefined): void => {
    new Gauge({
      name,
      help,
      labelNames: ['worker'],
      registers: [registry],
      collect() {
        this.reset();
        for (const row of history.workers.values()) {
          const value = row.state === 'left' ? undefined : read(row);
          if (value !== undefined) this.set({ worker: row.worker }, value);
        }
      },
    });
  };
  each('onebyte_worker_up', '1 while the worker is connected', ({ state }) => Number(state !== 'disconnected'));
  each('onebyte_worker_answer_seconds', 'From a record sent to the contribution received', ({ answerMs }) =>
    answerMs === undefined ? undefined : answerMs / 1000,
  );
  each('onebyte_worker_digest_agrees', "1 while the worker's last replica digest is the trainer's", ({ digest }) =>
    digest === undefined ? undefined : Number(digest.agrees),
  );
}
