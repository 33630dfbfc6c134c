/**
 * The trainer's core: decides who is a member, when a round closes and what its record holds. `step` is a pure state
 * machine in the manner of etcd's raft: it touches no clock, disk, socket or random source, and the caller carries out
 * the effects in order, each append durable before what follows it.
 */
import {
  absorb,
  exponentInForce,
  isDecodable,
  liveGradients,
  MAX_GRADIENTS_PER_RECORD,
} from '../kernels/learning-rule.ts';
import { type Contribution, Notice_Kind, type Record, type RecordEntry } from '../proto/gen/onebyte.ts';
import { DIGEST_EVERY, MAX_DIRECTION_INDEX } from '../proto/limits.ts';
import { EXIT } from '../proto/operating-error.ts';
import { deadlineMs, withArrival } from './deadline.ts';
import { onCounts, startEvaluation } from './evaluation.ts';
import { expelSilent, onClosed, onDigest, onHello, onLeave } from './membership.ts';
import { notice } from './messages.ts';
import { roundDetail } from './metrics-round.ts';
import type { ContributionPlace, Effect, Event, Member, StreamId, TrainerState } from './state.ts';

/** Records in a row without a live byte after which a run has diverged. */
const EMPTY_RECORDS = 3;
/** How often a trainer that waits says so, ms. */
const WAIT_REPORT_MS = 10_000;

/** Takes `event` in and returns the effects it asks for. `state` is updated in place. */
export function step(state: TrainerState, event: Event): Effect[] {
  if (state.phase === 'done') return event.kind === 'hello' ? onHello(state, event) : [];
  if ('stream' in event && event.kind !== 'hello') {
    const member = memberOfStream(state, event.stream);
    if (!member) return [];
    member.lastHeardMs = event.atMs;
  }
  switch (event.kind) {
    case 'hello':
      return onHello(state, event);
    case 'contribution':
      return [...onContribution(state, event.atMs, event.stream, event.contribution), ...advance(state, event.atMs)];
    case 'evaluation':
      return [...onCounts(state, event.stream, event.counts), ...finishWhenDone(state)];
    case 'digest':
      return [...onDigest(state, event.stream, event.digest), ...advance(state, event.atMs)];
    case 'leave':
      return [...onLeave(state, event.stream, event.reason), ...advance(state, event.atMs)];
    case 'closed':
      return onClosed(state, event.stream);
    case 'heartbeat':
      return [];
    case 'ownDigest':
      return onOwnDigest(state, event.round, event.sha256);
    case 'tick':
      return [...expelSilent(state, event.atMs), ...advance(state, event.atMs)];
    case 'drain':
      return onDrain(state, event.atMs);
  }
}

export const memberOfStream = (state: TrainerState, stream: StreamId): Member | undefined =>
  state.members.get(state.workerOfStream.get(stream) ?? -1);

/** Members whose answer the open round waits for. */
const expected = (state: TrainerState): Member[] =>
  [...state.members.values()].filter((m) => m.expectedFrom !== undefined && m.expectedFrom <= state.normaliser.round);

function onContribution(state: TrainerState, atMs: number, stream: StreamId, c: Contribution): Effect[] {
  const member = memberOfStream(state, stream)!;
  const { round } = state.normaliser;
  const problem = contributionProblem(state, member, c);
  if (problem) return [{ kind: 'refuse', stream, refusal: 'invalid', text: problem }];
  if (state.phase !== 'training') return [];
  const opened = state.openings.get(c.measuredRound);
  if (opened !== undefined && c.firstDirection === 0) state.arrivals = withArrival(state.arrivals, atMs - opened);
  if (isDuplicate(state, member, c)) return [];
  const held = state.pending.reduce((sum, { gradientBytes }) => sum + gradientBytes.length, 0);
  if (
    !isDecodable(state.normaliser, round - c.measuredRound) ||
    held + state.rules.directions > MAX_GRADIENTS_PER_RECORD
  )
    return onLate(member, stream, c.measuredRound, round);
  if (!state.answeredMs.has(member.worker)) state.answeredMs.set(member.worker, atMs - state.openedMs);
  state.accepted.set(member.worker, { measuredRound: c.measuredRound, firstDirection: c.firstDirection });
  state.pending.push({
    staleness: round - c.measuredRound,
    worker: member.worker,
    firstDirection: c.firstDirection,
    gradientBytes: c.gradientBytes,
  });
  return [];
}

/** What is wrong with a contribution whoever sent it; undefined when it may count. */
function contributionProblem(state: TrainerState, member: Member, c: Contribution): string | undefined {
  const { directions } = state.rules;
  const { round } = state.normaliser;
  if (c.gradientBytes.length !== directions)
    return `contribution of worker ${member.worker}: ${c.gradientBytes.length} gradient bytes, expected ${directions}`;
  if (c.measuredRound > round)
    return `contribution of worker ${member.worker} was measured in round ${c.measuredRound}; round ${round} is open`;
  if (c.firstDirection % directions !== 0 || c.firstDirection + directions > MAX_DIRECTION_INDEX)
    return `contribution of worker ${member.worker} begins at direction ${c.firstDirection}, expected a multiple of ${directions}`;
  if (c.gradientBytes.includes(0xff))
    return `contribution of worker ${member.worker} holds byte 0xff, which means nothing`;
  return undefined;
}

/** Contributions of a worker come in ascending (measured round, first direction): one that does not was counted before. */
function isDuplicate({ accepted }: TrainerState, { worker }: Member, c: Contribution): boolean {
  const last = accepted.get(worker);
  return last !== undefined && !isLater(c, last);
}

export const isLater = (a: ContributionPlace, b: ContributionPlace): boolean =>
  a.measuredRound > b.measuredRound || (a.measuredRound === b.measuredRound && a.firstDirection > b.firstDirection);

function onLate(member: Member, stream: StreamId, measuredRound: number, round: number): Effect[] {
  member.late++;
  const text = `measured in round ${measuredRound}; round ${round} is open`;
  return [
    { kind: 'send', stream, message: notice(Notice_Kind.LATE, text) },
    { kind: 'report', report: { kind: 'late', worker: member.worker, measuredRound, round } },
  ];
}

/** Closes rounds as long as the open one may close, or says why the trainer waits. */
function advance(state: TrainerState, atMs: number): Effect[] {
  if (state.phase === 'finalEvaluation') return finishWhenDone(state);
  if (state.phase !== 'training') return [];
  const reason = reasonToWait(state, atMs);
  if (reason === undefined) return closeRound(state, atMs);
  if (atMs - Math.max(state.lastWaitReportMs, state.openedMs) < WAIT_REPORT_MS) return [];
  state.lastWaitReportMs = atMs;
  return [{ kind: 'report', report: { kind: 'waiting', reason } }];
}

/** Why the open round can't close at `atMs`; undefined when it can. */
function reasonToWait(state: TrainerState, atMs: number): string | undefined {
  const { settings } = state.rules;
  const { round } = state.normaliser;
  const members = expected(state);
  if (round === 0 && members.length < settings.startWorkers)
    return `${members.length} of ${settings.startWorkers} workers are ready to start`;
  if (members.length === 0) return 'no worker is ready';
  const answered = new Set(state.pending.map(({ worker }) => worker));
  const missing = members.filter(({ worker }) => !answered.has(worker));
  if (missing.length === 0) return undefined;
  const names = missing.slice(0, 5).map(({ name }) => name);
  const waitingFor = `round ${round} waits for ${missing.length} of ${members.length} workers (${names.join(', ')}${missing.length > 5 ? ', …' : ''})`;
  if (settings.quorum === 'all') return waitingFor;
  const quorum = Math.max(1, Math.ceil(settings.quorum * members.length));
  if (members.length - missing.length < quorum) return `${waitingFor}; ${quorum} must answer`;
  const deadline = deadlineMs(state.arrivals, settings.deadlineFloorMs, settings.deadlineCeilingMs);
  return atMs - state.openedMs < deadline ? waitingFor : undefined;
}

const byPlace = (a: RecordEntry, b: RecordEntry): number =>
  b.staleness - a.staleness || a.worker - b.worker || a.firstDirection - b.firstDirection;

function closeRound(state: TrainerState, atMs: number): Effect[] {
  const { round } = state.normaliser;
  const record: Record = { round, exponent: exponentInForce(state.normaliser), entries: state.pending.sort(byPlace) };
  const { normaliser, step } = absorb(state.normaliser, state.rules.learning, record);
  const gradients = liveGradients(record);
  for (const { worker, gradientBytes } of record.entries) {
    const member = state.members.get(worker);
    if (member) member.gradients += gradientBytes.length;
  }
  const ms = atMs - state.openedMs;
  const waitedFor = expected(state).map(({ worker }) => worker);
  const detail = roundDetail(record, normaliser, state.answeredMs, waitedFor);
  state.normaliser = normaliser;
  state.gradients += gradients;
  state.emptyRecords = gradients === 0 ? state.emptyRecords + 1 : 0;
  openRound(state, atMs);
  const done = normaliser.round >= state.rules.rounds;
  const digest = done || normaliser.round % DIGEST_EVERY === 0;
  const effects: Effect[] = [
    { kind: 'append', frames: [{ frame: { $case: 'record', value: record } }] },
    { kind: 'broadcast', message: { message: { $case: 'record', value: record } } },
    { kind: 'apply', record, step, normaliser, digest },
    {
      kind: 'report',
      report: {
        kind: 'round',
        round: normaliser.round,
        contributions: record.entries.length,
        gradients,
        clipped: step?.clipped ?? 0,
        members: state.members.size,
        ms,
        detail,
      },
    },
  ];
  if (state.emptyRecords >= EMPTY_RECORDS) return [...effects, ...diverged(state)];
  return [...effects, ...afterRound(state, done)];
}

function afterRound(state: TrainerState, done: boolean): Effect[] {
  const { evaluateEvery, checkpointEvery } = state.rules.settings;
  const { round } = state.normaliser;
  const due = (every: number): boolean => done || (every > 0 && round % every === 0);
  const effects: Effect[] = [];
  if (due(checkpointEvery)) effects.push({ kind: 'checkpoint', round, best: false });
  if (due(evaluateEvery)) effects.push(...startEvaluation(state));
  if (!done) return effects;
  state.phase = 'finalEvaluation';
  return [...effects, ...finishWhenDone(state)];
}

/** Makes `normaliser.round` the open round. */
export function openRound(state: TrainerState, atMs: number): void {
  const { round } = state.normaliser;
  state.pending = [];
  state.answeredMs.clear();
  state.openedMs = atMs;
  state.openings.set(round, atMs);
  state.openings.delete(round - state.rules.learning.maxStaleness - 2);
}

function diverged(state: TrainerState): Effect[] {
  state.phase = 'done';
  const text = `${EMPTY_RECORDS} records in a row held no live byte: no worker measured a finite loss. Lower learning.learningRate or learning.epsilon, or go back to an earlier checkpoint`;
  return [
    { kind: 'broadcast', message: notice(Notice_Kind.RUN_FAILED, text) },
    { kind: 'finish', exitCode: EXIT.diverged, text },
  ];
}

/** Ends the run once its last record is committed and no evaluation is open. */
function finishWhenDone(state: TrainerState): Effect[] {
  if (state.phase !== 'finalEvaluation' || (state.evaluation && state.members.size > 0)) return [];
  state.phase = 'done';
  const text = `${state.normaliser.round} rounds done`;
  return [
    { kind: 'broadcast', message: notice(Notice_Kind.RUN_DONE, text) },
    { kind: 'finish', exitCode: EXIT.done, text },
  ];
}

function onOwnDigest(state: TrainerState, round: number, sha256: Buffer): Effect[] {
  state.ownDigests.set(round, sha256);
  for (const kept of state.ownDigests.keys()) if (kept < round - 256) state.ownDigests.delete(kept);
  return [];
}

/** The trainer is asked to go: what the open round holds is committed if it may be, then a checkpoint. */
function onDrain(state: TrainerState, atMs: number): Effect[] {
  const closing = state.phase === 'training' && state.rules.settings.quorum !== 'all' && state.pending.length > 0;
  const effects = closing ? closeRound(state, atMs) : [];
  if (effects.some(({ kind }) => kind === 'finish')) return effects;
  state.phase = 'done';
  const { round } = state.normaliser;
  const text = `trainer drained after ${round} rounds; go on with --resume`;
  return [
    ...effects,
    { kind: 'checkpoint', round, best: false },
    { kind: 'broadcast', message: notice(Notice_Kind.TRAINER_DRAINS, text) },
    { kind: 'finish', exitCode: EXIT.drained, text },
  ];
}
