/** The lines of metrics.jsonl: what was observed of a run, in order. Times are ms since 1970. */
import { z } from 'zod';
import { usageError } from '../../proto/operating-error.ts';
import { BUCKETS, type Share } from '../core/round-detail.ts';
import { type EventReport, REPORT_KINDS } from '../report-kinds.ts';

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
  /** Provider, device, precision, as it says itself. */
  computesOn: z.string().optional(),
  /** From the record sent to the contribution received: network and measuring, ms; absent before the first. */
  answerMs: count.optional(),
  gradients: count,
  /** Gradient bytes that were cut to the winsorising limit: many of a worker that lies or is broken. */
  clipped: count.default(0),
  /** Contributions that counted, and those that came too late. */
  contributions: count,
  late: count,
  /** Rounds that did not wait for it any longer. */
  missed: count,
  digest: z.object({ round: count, sha256: z.string(), agrees: z.boolean() }).optional(),
  /** What its rows have told of its privacy budget, as it says. */
  privacy: z.object({ epsilon: count, delta: count, spent: count, exhausted: z.boolean() }).optional(),
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
  /** The rate that this record was applied at; absent in lines of earlier versions. */
  learningRate: count.optional(),
  /** Nats: mean over the workers of what they said last of their minibatches; absent where none did, and where rebuilt from the round log. */
  trainingLoss: z.object({ perRow: count, perToken: count }).optional(),
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
  /** Nats a row; absent when it is not finite. */
  loss: z.number().optional(),
  /** Nats a token; absent too where tokens were not counted. */
  lossPerToken: z.number().optional(),
  accuracy: z.number().optional(),
  best: z.boolean(),
});
export type EvaluationLine = z.infer<typeof EvaluationLine>;

/** A trainer opened the round log, which holds `round` records. */
const StartLine = z.object({ kind: z.literal('start'), at, round: count, run: RunDescription });
const WorkersLine = z.object({ kind: z.literal('workers'), at, workers: z.array(WorkerRow) });
const EndLine = z.object({ kind: z.literal('end'), at, exitCode: z.int(), text: z.string() });
/** Something that a person may want to know about: a report that is an event, and when. */
export type EventLine = EventReport & { readonly at: number };

const eventLines = Object.entries(REPORT_KINDS).flatMap(([kind, { line }]) =>
  line === undefined ? [] : [z.object({ kind: z.literal(kind), at, ...line })],
);
const MetricsLine = z.discriminatedUnion('kind', [
  StartLine,
  RoundLine,
  EvaluationLine,
  WorkersLine,
  EndLine,
  ...eventLines,
]);
export type MetricsLine =
  | z.infer<typeof StartLine>
  | RoundLine
  | EvaluationLine
  | EventLine
  | z.infer<typeof WorkersLine>
  | z.infer<typeof EndLine>;

/** What the trainer tells of single workers many times a round; kept in memory, and in `workers` lines now and then. */
export type WorkerObservation =
  | {
      kind: 'answers';
      shares: ReadonlyMap<number, Share>;
      answeredMs: ReadonlyMap<number, number>;
      missing: readonly number[];
    }
  | { kind: 'late'; worker: number }
  | { kind: 'digest'; worker: number; round: number; sha256: string; agrees: boolean }
  | { kind: 'privacy'; worker: number; privacy: NonNullable<WorkerRow['privacy']> };

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
  return parsed.data as MetricsLine;
}
