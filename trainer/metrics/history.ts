/** The run history: one reducer from what was observed to what the page, /status, /metrics and TensorBoard show. */
import { EXIT } from '../../proto/operating-error.ts';
import { told } from '../report-kinds.ts';
import type { EvaluationLine, EventLine, Observation, RoundLine, RunDescription, WorkerRow } from './line.ts';
import { tenths } from './reports.ts';
import { emptySeries, pushRound, rewind, type Series } from './series.ts';

/** Rounds that are kept with all their detail. */
const RECENT_ROUNDS = 40;
const MAX_EVENTS = 100;
/** Workers that have left and are still shown. */
const MAX_DEPARTED = 50;

/** Something that a person may want to know about, and when. */
export interface RunEvent {
  readonly at: number;
  readonly round: number;
  readonly level: 'information' | 'warning' | 'error';
  readonly text: string;
}

export interface RunHistory {
  run: RunDescription | undefined;
  /** When the first trainer of the run started, and the last observation was made. */
  startedAt: number | undefined;
  updatedAt: number | undefined;
  /** Trainers that opened the run, one after the other. */
  starts: number;
  /** Records that the last of them found. */
  startRound: number;
  state: 'starting' | 'training' | 'waiting' | 'ended';
  /** Why it waits or ended. */
  text: string;
  exitCode: number | undefined;
  /** Records done. */
  round: number;
  readonly series: Series;
  readonly recent: RoundLine[];
  /** Of each row of the series the last. */
  evaluations: EvaluationLine[];
  best: EvaluationLine | undefined;
  readonly events: RunEvent[];
  readonly workers: Map<number, WorkerRow>;
  readonly totals: {
    gradients: number;
    contributions: number;
    clipped: number;
    late: number;
    missed: number;
    payloadBytes: number;
    /** What the same contributions would have taken as float32 gradients of the adapter, one way. */
    float32Bytes: number;
    wireUp: number;
    wireDown: number;
  };
  /** Socket bytes of the trainers before this one. */
  wireBefore: { up: number; down: number };
}

export const emptyHistory = (): RunHistory => ({
  run: undefined,
  startedAt: undefined,
  updatedAt: undefined,
  starts: 0,
  startRound: 0,
  state: 'starting',
  text: '',
  exitCode: undefined,
  round: 0,
  series: emptySeries(),
  recent: [],
  evaluations: [],
  best: undefined,
  events: [],
  workers: new Map(),
  totals: {
    gradients: 0,
    contributions: 0,
    clipped: 0,
    late: 0,
    missed: 0,
    payloadBytes: 0,
    float32Bytes: 0,
    wireUp: 0,
    wireDown: 0,
  },
  wireBefore: { up: 0, down: 0 },
});

/** Takes `seen` in. `history` is updated in place and depends on nothing else. */
export function observe(history: RunHistory, seen: Observation): void {
  // 0 where nobody knows when it was.
  if ('at' in seen && seen.at > 0) {
    history.updatedAt = seen.at;
    history.startedAt ??= seen.at;
  }
  switch (seen.kind) {
    case 'start':
      onStart(history, seen);
      break;
    case 'round':
      onRound(history, seen);
      break;
    case 'evaluation':
      onEvaluation(history, seen);
      break;
    case 'joined':
    case 'left':
    case 'disconnected':
      onMembership(history, seen);
      break;
    case 'waiting':
      history.state = 'waiting';
      history.text = seen.reason;
      tell(history, seen);
      break;
    case 'workers':
      for (const row of seen.workers) history.workers.set(row.worker, row);
      forgetDeparted(history);
      history.totals.late = Math.max(
        history.totals.late,
        sumOf(seen.workers, ({ late }) => late),
      );
      return;
    case 'end':
      Object.assign(history, { state: 'ended', text: seen.text, exitCode: seen.exitCode });
      say(
        history,
        seen.at,
        seen.exitCode === EXIT.done || seen.exitCode === EXIT.drained ? 'information' : 'error',
        seen.text,
      );
      break;
    case 'answers':
      onAnswers(history, seen);
      break;
    case 'late':
      history.totals.late++;
      update(history, seen.worker, ({ late }) => ({ late: late + 1 }));
      break;
    case 'digest': {
      const { round, sha256, agrees } = seen;
      update(history, seen.worker, () => ({ state: agrees ? 'active' : 'joining', digest: { round, sha256, agrees } }));
      break;
    }
    case 'privacy':
      update(history, seen.worker, () => ({ privacy: seen.privacy }));
      break;
    default:
      tell(history, seen);
  }
}

type Of<Kind extends Observation['kind']> = Extract<Observation, { kind: Kind }>;

/** A trainer opens the log: workers come anew, and rounds that the log does not hold were never committed. */
function onStart(history: RunHistory, { at, run, round }: Of<'start'>): void {
  const { totals, recent } = history;
  Object.assign(history, { run, round, startRound: round, state: 'starting', text: '', exitCode: undefined });
  history.wireBefore = { up: totals.wireUp, down: totals.wireDown };
  rewind(history.series, round);
  recent.splice(0, recent.length, ...recent.filter((line) => line.round <= round));
  history.evaluations = history.evaluations.filter((evaluation) => evaluation.round <= round);
  for (const row of history.workers.values())
    if (row.state !== 'left') history.workers.set(row.worker, { ...row, state: 'disconnected' });
  if (history.starts++ > 0) say(history, at, 'information', `the trainer started again at round ${round}`);
}

function onRound(history: RunHistory, line: RoundLine): void {
  const { totals, recent, wireBefore } = history;
  history.round = line.round;
  history.state = 'training';
  history.text = '';
  totals.gradients += line.gradients;
  totals.contributions += line.contributions;
  totals.clipped += line.clipped;
  totals.missed += line.missed;
  totals.payloadBytes += line.payloadBytes;
  totals.float32Bytes += line.contributions * 4 * (history.run?.adapterElements ?? 0);
  if (line.wire) {
    totals.wireUp = wireBefore.up + line.wire.up;
    totals.wireDown = wireBefore.down + line.wire.down;
  }
  const { payloadBytes, float32Bytes, wireUp, wireDown } = totals;
  const { stride } = history.series;
  pushRound(history.series, line, { payloadBytes, float32Bytes, wireUp, wireDown });
  if (history.series.stride !== stride)
    history.evaluations = history.evaluations.filter((one, i, all) => !shareRow(history, one, all[i + 1]));
  recent.push(line);
  if (recent.length > RECENT_ROUNDS) recent.shift();
}

function onEvaluation(history: RunHistory, line: EvaluationLine): void {
  const { evaluations } = history;
  if (shareRow(history, line, evaluations.at(-1))) evaluations.pop();
  evaluations.push(line);
  if (line.best) history.best = line;
}

/** Both are of rounds that one row of the series holds. */
const shareRow = (
  { series: { stride } }: RunHistory,
  one: EvaluationLine,
  other: EvaluationLine | undefined,
): boolean => other !== undefined && Math.ceil(one.round / stride) === Math.ceil(other.round / stride);

function onMembership(history: RunHistory, seen: Of<'joined' | 'left' | 'disconnected'>): void {
  const { worker } = seen;
  const row = history.workers.get(worker);
  if (seen.kind === 'disconnected' && (row?.state === 'left' || history.state === 'ended')) return;
  switch (seen.kind) {
    case 'joined':
      history.workers.set(worker, {
        ...(row ?? newRow(worker, history.run?.shards)),
        name: seen.name,
        computesOn: seen.computesOn,
        state: 'joining',
      });
      break;
    case 'left':
      update(history, worker, () => ({ state: 'left' }));
      forgetDeparted(history);
      break;
    case 'disconnected':
      update(history, worker, () => ({ state: 'disconnected' }));
      break;
  }
  tell(history, seen);
}

function onAnswers(history: RunHistory, { shares, answeredMs, missing }: Of<'answers'>): void {
  for (const [worker, share] of shares)
    update(history, worker, ({ gradients, clipped, contributions, answerMs, state }) => ({
      gradients: gradients + share.gradients,
      clipped: clipped + share.clipped,
      contributions: contributions + share.contributions,
      answerMs: answeredMs.has(worker) ? tenths(answeredMs.get(worker)!) : answerMs,
      state: state === 'joining' ? 'active' : state,
    }));
  for (const worker of missing) update(history, worker, ({ missed }) => ({ missed: missed + 1 }));
}

/** What is known of a worker that has done nothing yet. */
export const newRow = (worker: number, shards = 1): WorkerRow => ({
  worker,
  name: '',
  state: 'joining',
  shard: worker % shards,
  gradients: 0,
  clipped: 0,
  contributions: 0,
  late: 0,
  missed: 0,
});

function update({ workers }: RunHistory, worker: number, change: (row: WorkerRow) => Partial<WorkerRow>): void {
  const row = workers.get(worker);
  if (row) workers.set(worker, { ...row, ...change(row) });
}

const sumOf = (rows: readonly WorkerRow[], of: (row: WorkerRow) => number): number =>
  rows.reduce((sum, row) => sum + of(row), 0);

function forgetDeparted({ workers }: RunHistory): void {
  const departed = [...workers.values()].filter(({ state }) => state === 'left');
  for (const { worker } of departed.slice(0, -MAX_DEPARTED)) workers.delete(worker);
}

const EVENT_LEVELS = { debug: 'information', info: 'information', warn: 'warning', error: 'error' } as const;

/** Makes an event of a report that is one. */
function tell(history: RunHistory, seen: EventLine): void {
  const { level, text } = told(seen);
  say(history, seen.at, EVENT_LEVELS[level], text);
}

function say(history: RunHistory, at: number, level: RunEvent['level'], text: string): void {
  history.events.push({ at, round: history.round, level, text });
  if (history.events.length > MAX_EVENTS) history.events.shift();
}

/**
 * Rounds per second over the recent rounds of this trainer, and seconds to the end of the run; 0 and undefined while unknown. Its first round
 * is left out, in which workers load their models; so is the clock of the day, which may be set.
 */
export function pace({ recent, run, round, startRound, state }: RunHistory): {
  roundsPerSecond: number;
  secondsLeft: number | undefined;
} {
  const timed = recent.flatMap((line) => (line.round > startRound + 1 ? (line.ms ?? []) : []));
  const ms = timed.reduce((sum, one) => sum + one, 0);
  if (ms === 0) return { roundsPerSecond: 0, secondsLeft: undefined };
  const roundsPerSecond = (1000 * timed.length) / ms;
  const left = Math.max(0, (run?.rounds ?? round) - round);
  return { roundsPerSecond, secondsLeft: state === 'ended' ? undefined : left / roundsPerSecond };
}
