/** Keeps the history of a run while its trainer runs, and hands every observation to those who show or store it. */
import type { Report } from '../core/state.ts';
import { observe, type RunHistory } from './history.ts';
import type { Observation, RunDescription } from './line.ts';
import { metricsWriter, readPastRun } from './metrics-file.ts';
import { observationsOf } from './reports.ts';
import type { MetricsStream } from './stream.ts';

/** Least time between two notes of all workers where only some of them left, ms. */
const NOTE_WORKERS_MS = 1000;

/** Hears every observation after the history has taken it in. One that throws is let go: the run goes on without it. */
export interface MetricsSink {
  onObservation(seen: Observation): void;
  close(): Promise<void>;
}

export interface RunMetrics {
  readonly history: RunHistory;
  /** The trainer has opened the run and found `round` records: from now on metrics.jsonl is written. */
  begin(round: number): void;
  onReport(report: Report, wire: { up: number; down: number }): void;
  add(sink: MetricsSink): void;
  /** The run directory is another trainer's by now: metrics.jsonl is not written any longer. */
  letGo(): void;
  /** Notes how the trainer ended, and closes all sinks. */
  end(exitCode: number, text: string): Promise<void>;
}

export interface MetricsOptions {
  readonly directory: string;
  readonly run: RunDescription;
  /** ms since 1970. */
  readonly now: () => number;
  /** metrics.jsonl cannot be written. */
  readonly onError: (error: Error) => void;
  /** Told of a metrics.jsonl that is damaged. */
  readonly say?: (text: string) => void;
}

/** Opens the metrics of the run in `directory`, what is there already included. @throws OperatingError for a damaged round log */
export async function openMetrics({
  directory,
  run,
  now,
  onError,
  say = () => {},
}: MetricsOptions): Promise<RunMetrics> {
  const past = await readPastRun(directory);
  const { history, missing, damage } = past;
  if (damage !== undefined)
    say(`${damage}; it is set aside and made again from the round log, all but the times of the rounds`);
  let writer: MetricsStream | undefined;
  let sinks: MetricsSink[] = [];
  const take = (seen: Observation): void => {
    observe(history, seen);
    if ('at' in seen) writer?.write(`${JSON.stringify(seen)}\n`);
    for (const sink of sinks)
      try {
        sink.onObservation(seen);
      } catch (error) {
        sinks = sinks.filter((other) => other !== sink);
        onError(error as Error);
      }
  };
  let notedAt = 0;
  const noteWorkers = (): void => {
    notedAt = now();
    take({ kind: 'workers', at: notedAt, workers: [...history.workers.values()] });
  };
  return {
    history,
    begin(round) {
      writer = metricsWriter(directory, past, onError);
      // What rounds would have cost otherwise depends on the description of the run.
      history.run ??= run;
      for (const line of missing) take(line);
      take({ kind: 'start', at: now(), round, run });
    },
    onReport(report, wire) {
      for (const seen of observationsOf(report, wire, now())) take(seen);
      const someLeft = report.kind === 'left' && now() - notedAt >= NOTE_WORKERS_MS;
      if (report.kind === 'evaluation' || someLeft) noteWorkers();
    },
    add(sink) {
      sinks = [...sinks, sink];
    },
    letGo() {
      void writer?.close();
      writer = undefined;
    },
    async end(exitCode, text) {
      if (writer) noteWorkers();
      take({ kind: 'end', at: now(), exitCode, text });
      await Promise.all([writer?.close(), ...sinks.map((sink) => sink.close())]);
    },
  };
}
