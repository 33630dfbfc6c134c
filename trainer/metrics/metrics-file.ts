/** metrics.jsonl of a run directory: read whole, then appended to. Losing it loses times, never the run. */
import { createWriteStream, existsSync, mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { learningRuleOf } from '../../kernels/run-replica.ts';
import { readLines } from '../../platform/lines.ts';
import { parseRunConfig } from '../../proto/run-config.ts';
import { roundLogFile } from '../store/open-run.ts';
import { readRoundLog } from '../store/round-log.ts';
import { backfill } from './backfill.ts';
import { emptyHistory, observe, type RunHistory } from './history.ts';
import { type MetricsLine, parseMetricsLine } from './line.ts';
import { type MetricsStream, metricsStream } from './stream.ts';

export const metricsFile = (directory: string): string => join(directory, 'metrics.jsonl');

/** The longest holds a row for each worker of a run. */
const MAX_LINE_BYTES = 2 ** 26;

/**
 * The lines of a metrics.jsonl, and how many bytes of the file end with each; a last line without its end is left out.
 * @throws OperatingError (usage) that names the file and the line
 */
export function* readMetrics(file: string): Generator<{ line: MetricsLine; end: number }> {
  for (const { number, text, end } of readLines(file, { onlyWhole: true, maxBytes: MAX_LINE_BYTES }))
    yield { line: parseMetricsLine(text, `${file}, line ${number}`), end };
}

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
  let bytes = 0;
  let evaluations: number[] = []; // those of the history are thinned
  for (const { line, end } of existsSync(file) ? readMetrics(file) : []) {
    bytes = end;
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

/** Goes on with metrics.jsonl behind its first `bytes` bytes. */
export function metricsWriter(directory: string, bytes: number, onError: (error: Error) => void): MetricsStream {
  return metricsStream(() => {
    const file = metricsFile(directory);
    mkdirSync(directory, { recursive: true });
    if (existsSync(file)) truncateSync(file, bytes);
    return createWriteStream(file, { flags: 'a' });
  }, onError);
}
