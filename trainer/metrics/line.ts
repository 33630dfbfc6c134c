/** The lines of metrics.jsonl: what was observed of a run, in order. Times are ms since 1970. */
import { z } from 'zod';
import { usageError } from '../../proto/operating-error.ts';
import { BUCKETS, type Share } from '../core/round-detail.ts';

const at = z.number();
const count = z.number().min(0);

/** What is fixed while a trainer runs. */
export const RunDescription = z.object({
  name: z.string(),
  /** Records after which the run is done. */
  rounds: count,
  /** d. */
  adapterElements: count,
  /** Parts of the training rows. */
  shards: count,
  devRows: count,
  /** The run config, without the list of modules, and the trainer's settings. */
  config: z.record(z.string(), z.unknown()),
});
export type RunDescription = z.infer<typeof RunDescription>;

export const WorkerState = z.enum(['joining', 'active', 'disconnected', 'left']);
export type WorkerState = z.infer<typeof WorkerState>;

/** What is known of one worker. */
export const WorkerRow = z.object({
  worker: count,
  name: z.string(),
  state: WorkerState,
  shard: count,
  /** From the record sent to the contribution received: network and measuring, ms; absent before the first. */
  answerMs: count.optional(),
  gradients: count,
  /** Contributions that counted, and those that came too late. */
  contributions: count,
  late: count,
  /** Rounds that did not wait for it any longer. */
  missed: count,
  digest: z.object({ round: count, sha256: z.string(), agrees: z.boolean() }).optional(),
});
export type WorkerRow = z.infer<typeof WorkerRow>;

export const RoundLine = z.object({
  kind: z.literal('round'),
  at,
  /** Records done with this one. */
  round: count,
  gradients: count,
  contributions: count,
  clipped: count,
  members: count,
  /** Opening to commit, ms; absent where the line was rebuilt from the round log. */
  ms: count.optional(),
  exponent: z.number(),
  /** Root mean square of the projected gradients. */
  rms: count,
  payloadBytes: count,
  buckets: z.array(count).length(BUCKETS),
  /** Median time to an answer, ms; absent where nobody's is known. */
  answerMs: count.optional(),
  /** The last to answer, slowest first: worker, ms. */
  slowest: z.array(z.tuple([count, count])).max(3),
  /** The first few of the workers that were not waited for any longer, and how many they are. */
  missing: z.array(count).max(3),
  missed: count,
  /** Socket bytes of this trainer process so far; absent where rebuilt from the round log. */
  wire: z.object({ up: count, down: count }).optional(),
});
export type RoundLine = z.infer<typeof RoundLine>;

export const EvaluationLine = z.object({
  kind: z.literal('evaluation'),
  at,
  round: count,
  rows: count,
  /** Nats; absent when it is not finite. */
  loss: z.number().optional(),
  accuracy: z.number().optional(),
  best: z.boolean(),
});
export type EvaluationLine = z.infer<typeof EvaluationLine>;

export const MetricsLine = z.discriminatedUnion('kind', [
  /** A trainer opened the round log, which holds `round` records. */
  z.object({ kind: z.literal('start'), at, round: count, run: RunDescription }),
  RoundLine,
  EvaluationLine,
  z.object({ kind: z.literal('joined'), at, worker: count, name: z.string(), resumed: z.boolean() }),
  z.object({ kind: z.literal('left'), at, worker: count, name: z.string(), reason: z.string() }),
  z.object({ kind: z.literal('disconnected'), at, worker: count, name: z.string() }),
  z.object({ kind: z.literal('waiting'), at, reason: z.string() }),
  z.object({ kind: z.literal('deviant'), at, worker: count, round: count }),
  /** A worker gave back a record that the round log had lost. */
  z.object({ kind: z.literal('recovered'), at, round: count }),
  z.object({ kind: z.literal('workers'), at, workers: z.array(WorkerRow) }),
  z.object({ kind: z.literal('end'), at, exitCode: z.int(), text: z.string() }),
]);
export type MetricsLine = z.infer<typeof MetricsLine>;

/** What the trainer tells of single workers many times a round; kept in memory, and in `workers` lines now and then. */
export type WorkerObservation =
  | {
      kind: 'answers';
      shares: ReadonlyMap<number, Share>;
      answeredMs: ReadonlyMap<number, number>;
      missing: readonly number[];
    }
  | { kind: 'late'; worker: number }
  | { kind: 'digest'; worker: number; round: number; sha256: string; agrees: boolean };

export type Observation = MetricsLine | WorkerObservation;

/** @param from file and line, for the error @throws OperatingError (usage) */
export function parseMetricsLine(line: string, from: string): MetricsLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw usageError(`${from}: not JSON`, { cause });
  }
  const parsed = MetricsLine.safeParse(value);
  if (!parsed.success) throw usageError(`${from}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
