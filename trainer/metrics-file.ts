/** metrics.jsonl of a run directory: read whole, then appended to. Losing it loses times, never the run. */
import { createWriteStream, existsSync, mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { learningRuleOf } from '../kernels/run-replica.ts';
import { parseRunConfig } from '../proto/run-config.ts';
import { backfill } from './metrics-backfill.ts';
import { emptyHistory, observe, type RunHistory } from './metrics-history.ts';
import { type MetricsLine, parseMetrics } from './metrics-line.ts';
import { roundLogFile } from './open-run.ts';
import { readRoundLog } from './round-log.ts';

export const metricsFile = (directory: string): string => join(directory, 'metrics.jsonl');

export interface PastRun {
  readonly history: RunHistory;
  /** Bytes of metrics.jsonl that are whole lines. */
  readonly bytes: number;
  /** Lines that the round log knows of and metrics.jsonl does not; not yet in `history`. */
  readonly missing: readonly MetricsLine[];
}

/** What is known of the run in `directory`: nothing, where there is none. @throws OperatingError for damaged files */
export async function readPastRun(directory: string): Promise<PastRun> {
  const history = emptyHistory();
  const file = metricsFile(directory);
  const { lines, bytes } = existsSync(file) ? parseMetrics(readFileSync(file, 'utf8'), file) : { lines: [], bytes: 0 };
  let evaluations: number[] = []; // those of the history are thinned
  for (const line of lines) {
    observe(history, line);
    if (line.kind === 'evaluation') evaluations.push(line.round);
    if (line.kind === 'start') evaluations = evaluations.filter((round) => round <= line.round);
  }
  if (!existsSync(roundLogFile(directory))) return { history, bytes, missing: [] };
  const { header, frames } = await readRoundLog(roundLogFile(directory));
  const rule = learningRuleOf(parseRunConfig(header.runConfig, roundLogFile(directory)));
  const noted = { round: history.round, evaluations: new Set(evaluations) };
  const missing = backfill(frames, rule, noted, history.updatedAt ?? 0);
  return { history, bytes, missing };
}

export interface MetricsWriter {
  write(line: MetricsLine): void;
  /** Resolves once all lines are handed to the system. */
  close(): Promise<void>;
}

/** Goes on with metrics.jsonl behind its first `bytes` bytes. A file that cannot be written is told once and let go. */
export function metricsWriter(directory: string, bytes: number, onError: (error: Error) => void): MetricsWriter {
  const file = metricsFile(directory);
  mkdirSync(directory, { recursive: true });
  if (existsSync(file)) truncateSync(file, bytes);
  const stream = createWriteStream(file, { flags: 'a' });
  let failed = false;
  stream.on('error', (error) => {
    failed = true;
    onError(error);
  });
  return {
    write: (line) => void (failed || stream.write(`${JSON.stringify(line)}\n`)),
    close: () => new Promise((resolve) => (failed ? resolve() : stream.once('close', resolve).end())),
  };
}
