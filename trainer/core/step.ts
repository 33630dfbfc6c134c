/**
 * The trainer's core: decides who is a member, when a round closes and what its record holds. `step` is a pure state
 * machine in the manner of etcd's raft: it touches no clock, disk, socket or random source, and the caller carries out
 * the effects in order, each append durable before what follows it.
 */
import { isDecodable, MAX_GRADIENTS_PER_RECORD } from '../../kernels/learning-rule.ts';
import { type Contribution, Notice_Kind } from '../../proto/gen/onebyte.ts';
import { MAX_DIRECTION_INDEX } from '../../proto/limits.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { closeRound, expectedMembers, finish, finishWhenDone, isLater } from './commit.ts';
import { withArrival } from './deadline.ts';
import { onCounts } from './evaluation.ts';
import { expelSilent, onClosed, onDigest, onHello, onLeave } from './membership.ts';
import { notice } from './messages.ts';
import { endRecovery, onRecordGiven, reasonToRecover } from './recovery.ts';
import type { Effect, Event, Member, StreamId, TrainerState } from './state.ts';

/** How often a trainer that waits says so, ms. */
const WAIT_REPORT_MS = 10_000;

/** Takes `event` in and returns the effects it asks for. `state` is updated in place. */
export function step(state: TrainerState, event: Event): Effect[] {
  if (state.phase === 'done') return event.kind === 'hello' ? onHello(state, event) : [];
  if ('stream' in event && event.kind !== 'hello') {
    const member = memberOfStream(state, event.stream);
    if (!member) return [];
    // The end of a stream is no sign of life: it may be heard of long after the worker died.
    if (event.kind !== 'closed') member.lastHeardMs = event.atMs;
  }
  switch (event.kind) {
    case 'hello':
      return [...onHello(state, event), ...advance(state, event.atMs)];
    case 'recordGiven':
      return [
        ...onRecordGiven(state, memberOfStream(state, event.stream)!, event.record, event.atMs),
        ...advance(state, event.atMs),
      ];
    case 'contribution':
      return onContribution(state, event.atMs, event.stream, event.contribution);
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

const memberOfStream = (state: TrainerState, stream: StreamId): Member | undefined =>
  state.members.get(state.workerOfStream.get(stream) ?? -1);

function onContribution(state: TrainerState, atMs: number, stream: StreamId, c: Contribution): Effect[] {
  const member = memberOfStream(state, stream)!;
  if (member.claim) return [];
  const { round } = state.normaliser;
  const problem = contributionProblem(state, member, c);
  if (problem) return [{ kind: 'refuse', stream, refusal: 'invalid', text: problem }];
  if (state.phase !== 'training' || member.expectedFrom === undefined) return [];
  const opened = state.openings.get(c.measuredRound);
  if (opened !== undefined && c.firstDirection === 0) state.arrivals = withArrival(state.arrivals, atMs - opened);
  if (isDuplicate(state, member, c)) return [];
  if (!isDecodable(state.normaliser, round - c.measuredRound) || isFull(state))
    return onLate(member, stream, c.measuredRound, round);
  if (!state.answeredMs.has(member.worker)) state.answeredMs.set(member.worker, atMs - state.openedMs);
  state.accepted.set(member.worker, { measuredRound: c.measuredRound, firstDirection: c.firstDirection });
  state.pending.push({
    staleness: round - c.measuredRound,
    worker: member.worker,
    firstDirection: c.firstDirection,
    gradientBytes: c.gradientBytes,
  });
  state.pendingGradients += c.gradientBytes.length;
  // Counting who is missing costs as much as there are members: not at each of their contributions.
  return --state.stillMissing > 0 && !isFull(state) ? [] : advance(state, atMs);
}

/** The open record takes no further contribution. */
const isFull = ({ pendingGradients, rules }: TrainerState): boolean =>
  pendingGradients + rules.directions > MAX_GRADIENTS_PER_RECORD;

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

function onLate(member: Member, stream: StreamId, measuredRound: number, round: number): Effect[] {
  const text = `measured in round ${measuredRound}; round ${round} is open`;
  return [
    { kind: 'send', stream, message: notice(Notice_Kind.LATE, text) },
    { kind: 'report', report: { kind: 'late', worker: member.worker, measuredRound, round } },
  ];
}

/** Closes the open round if it may close, or says why the trainer waits. */
function advance(state: TrainerState, atMs: number): Effect[] {
  if (state.phase === 'done') return [];
  const recovering = reasonToRecover(state, atMs);
  if (recovering === undefined && state.recovery) return [...endRecovery(state, atMs), ...advance(state, atMs)];
  if (state.phase === 'finalEvaluation') return finishWhenDone(state);
  const reason = recovering ?? reasonToWait(state, atMs);
  if (reason === undefined) return closeRound(state, atMs);
  if (atMs - Math.max(state.lastWaitReportMs, state.openedMs) < WAIT_REPORT_MS) return [];
  state.lastWaitReportMs = atMs;
  return [{ kind: 'report', report: { kind: 'waiting', reason } }];
}

/** Why the open round can't close at `atMs`; undefined when it can. */
function reasonToWait(state: TrainerState, atMs: number): string | undefined {
  const { settings } = state.rules;
  const { round } = state.normaliser;
  const members = expectedMembers(state);
  if (round === 0 && members.length < settings.startWorkers)
    return `${members.length} of ${settings.startWorkers} workers are ready to start`;
  if (members.length === 0) return 'no worker is ready';
  // Those who are missing can add nothing more: a quorum might never be met.
  if (isFull(state)) return undefined;
  const answered = new Set(state.pending.map(({ worker }) => worker));
  const missing = members.filter(({ worker }) => !answered.has(worker));
  state.stillMissing = missing.length;
  if (missing.length === 0) return undefined;
  const names = missing.slice(0, 5).map(({ name }) => name);
  const waitingFor = `round ${round} waits for ${missing.length} of ${members.length} workers (${names.join(', ')}${missing.length > 5 ? ', …' : ''})`;
  if (settings.quorum === 'all') return waitingFor;
  const quorum = Math.max(1, Math.ceil(settings.quorum * members.length));
  if (members.length - missing.length < quorum) return `${waitingFor}; ${quorum} must answer`;
  return atMs - state.openedMs < state.deadlineMs ? waitingFor : undefined;
}

function onOwnDigest(state: TrainerState, round: number, sha256: Buffer): Effect[] {
  state.ownDigests.set(round, sha256);
  for (const kept of state.ownDigests.keys()) if (kept < round - 256) state.ownDigests.delete(kept);
  return [];
}

/** The trainer is asked to go: what the open round holds is committed if it may be, then a checkpoint. */
function onDrain(state: TrainerState, atMs: number): Effect[] {
  const { settings } = state.rules;
  const mayClose = state.phase === 'training' && !state.recovery && settings.quorum !== 'all';
  const effects = mayClose && state.pending.length > 0 ? closeRound(state, atMs) : [];
  if (effects.some(({ kind }) => kind === 'finish')) return effects;
  const { round } = state.normaliser;
  const text = `trainer drained after ${round} rounds; go on with --resume`;
  return [
    ...effects,
    { kind: 'checkpoint', round, best: false },
    ...finish(state, EXIT.drained, Notice_Kind.TRAINER_DRAINS, text),
  ];
}
