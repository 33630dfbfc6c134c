/** metrics.jsonl of a run directory: read whole, then appended to. Losing it loses times, never the run. */
import { createWriteStream, existsSync, mkdirSync, renameSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { learningRuleOf } from '../../kernels/run-replica.ts';
import { breather } from '../../platform/breath.ts';
import { readLines } from '../../platform/lines.ts';
import { OperatingError } from '../../proto/operating-error.ts';
import { parseRunConfig, type RunConfig } from '../../proto/run-config.ts';
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
  /** What is wrong with metrics.jsonl, of which then nothing is in `history`; undefined: nothing. */
  readonly damage: string | undefined;
  /** Lines that the round log knows of and metrics.jsonl does not; not yet in `history`. */
  readonly missing: readonly MetricsLine[];
  /** Of the round log; undefined where there is none. */
  readonly config: RunConfig | undefined;
}

/** What is known of the run in `directory`: nothing, where there is none. @throws OperatingError for a damaged round log */
export async function readPastRun(directory: string): Promise<PastRun> {
  const { history, bytes, evaluations, damage } = await readHistory(metricsFile(directory));
  if (!existsSync(roundLogFile(directory))) return { history, bytes, damage, missing: [], config: undefined };
  const { header, frames } = await readRoundLog(roundLogFile(directory));
  const config = parseRunConfig(header.runConfig, roundLogFile(directory));
  const noted = { round: history.round, evaluations: new Set(evaluations), workers: history.workers };
  const missing = await backfill(frames, learningRuleOf(config), config.data.shards, noted, history.updatedAt ?? 0);
  return { history, bytes, damage, missing, config };
}

/** @returns `evaluations`: their rounds; those of the history are thinned */
async function readHistory(
  file: string,
): Promise<Pick<PastRun, 'history' | 'bytes' | 'damage'> & { evaluations: number[] }> {
  const history = emptyHistory();
  let bytes = 0;
  let evaluations: number[] = [];
  const breathe = breather();
  try {
    for (const { line, end } of existsSync(file) ? readMetrics(file) : []) {
      await breathe();
      bytes = end;
      observe(history, line);
      if (line.kind === 'evaluation') evaluations.push(line.round);
      if (line.kind === 'start') evaluations = evaluations.filter((round) => round <= line.round);
    }
    return { history, bytes, evaluations, damage: undefined };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { history: emptyHistory(), bytes: 0, evaluations: [], damage: error.message };
  }
}

/** Goes on with metrics.jsonl behind its first `bytes` bytes. A damaged one is set aside, as metrics.jsonl.damaged, and begun anew. */
export function metricsWriter(
  directory: string,
  { bytes, damage }: PastRun,
  onError: (error: Error) => void,
): MetricsStream {
  return metricsStream(() => {
    const file = metricsFile(directory);
    mkdirSync(directory, { recursive: true });
    if (damage !== undefined) renameSync(file, `${file}.damaged`);
    else if (existsSync(file)) truncateSync(file, bytes);
    return createWriteStream(file, { flags: 'a' });
  }, onError);
}
