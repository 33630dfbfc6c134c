/**
 * The trainer's core: decides who is a member, when a round closes and what its record holds. `step` is a pure state
 * machine in the manner of etcd's raft: it touches no clock, disk, socket or random source, and the caller carries out
 * the effects in order, each append durable before what follows it.
 */
import { Notice_Kind } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { closeRound, finishWhenDone } from './commit.ts';
import { onContribution } from './contributions.ts';
import { expireRanges, onCounts } from './evaluation.ts';
import { finish, stay } from './last-word.ts';
import { expelOutvoted, expelSilent, onClosed, onDigest, onHeartbeat, onHello, onLeave } from './membership.ts';
import { missingMembers, reasonToWait } from './quorum.ts';
import { endRecovery, onRecordGiven, reasonToRecover } from './recovery.ts';
import type { Effect, Event, Member, TrainerState } from './state.ts';
import { onLogReplayed, onOwnDigest } from './votes.ts';

type MemberEvent = Exclude<Extract<Event, { stream: unknown }>, { kind: 'hello' }>;

/** How often a trainer that waits says so, ms. */
const WAIT_REPORT_MS = 10_000;

/** Takes `event` in and returns the effects it asks for. `state` is updated in place. */
export function step(state: TrainerState, event: Event): Effect[] {
  if (state.phase === 'done') return [...(event.kind === 'hello' ? onHello(state, event) : []), ...stay(state, event)];
  switch (event.kind) {
    case 'hello':
      return [...onHello(state, event), ...advance(state, event.atMs)];
    case 'ownDigest':
      return onOwnDigest(state, event.round, event.sha256);
    case 'logReplayed':
      return [...onLogReplayed(state, event), ...advance(state, event.atMs)];
    case 'tick':
      return onTick(state, event.atMs);
    case 'drain':
      return onDrain(state, event.atMs);
    default: {
      const member = state.members.get(state.workerOfStream.get(event.stream) ?? -1);
      return member ? onMember(state, member, event) : [];
    }
  }
}

/** What a member says over its stream, or that the stream ended. */
function onMember(state: TrainerState, member: Member, event: MemberEvent): Effect[] {
  // The end of a stream is no sign of life: it may be heard of long after the worker died.
  if (event.kind === 'closed') return onClosed(state, member, event.stream);
  member.lastHeardMs = event.atMs;
  switch (event.kind) {
    case 'recordGiven':
      return [...onRecordGiven(state, member, event.record, event.atMs), ...advance(state, event.atMs)];
    case 'contribution': {
      const { effects, isAnswered } = onContribution(state, member, event.contribution, event.atMs);
      return [...effects, ...afterAnswer(state, isAnswered, event.atMs)];
    }
    case 'evaluation': {
      const effects = onCounts(state, member, event.counts, event.atMs);
      return [...effects, ...expelOutvoted(state, event.atMs), ...advance(state, event.atMs)];
    }
    case 'digest':
      return [...onDigest(state, member, event.stream, event.digest, event.atMs), ...advance(state, event.atMs)];
    case 'leave':
      return [...onLeave(state, member, event.reason, event.atMs), ...advance(state, event.atMs)];
    case 'heartbeat':
      return onHeartbeat(member, event.heartbeat);
  }
}

/** Leases and ranges of an evaluation run out, and rounds close, by the clock. */
function onTick(state: TrainerState, atMs: number): Effect[] {
  const silent = expelSilent(state, atMs);
  const expired = expireRanges(state, atMs);
  return [...silent, ...expired, ...expelOutvoted(state, atMs), ...advance(state, atMs)];
}

/** Counting who is missing costs as much as there are members: not at each of their contributions. */
function afterAnswer(state: TrainerState, isAnswered: boolean, atMs: number): Effect[] {
  return isAnswered && --state.stillMissing <= 0 ? advance(state, atMs) : [];
}

/** Closes the open round if it may close, or says why the trainer waits. */
function advance(state: TrainerState, atMs: number): Effect[] {
  if (state.phase === 'done') return [];
  const recovering = reasonToRecover(state);
  if (recovering === undefined && state.recovery) return [...endRecovery(state, atMs), ...advance(state, atMs)];
  if (state.phase === 'finalEvaluation') return finishWhenDone(state);
  const reason = recovering ?? reasonToWait(state, atMs);
  if (reason === undefined) return closeRound(state, atMs, missingMembers(state));
  if (atMs - Math.max(state.lastWaitReportMs, state.openedMs) < WAIT_REPORT_MS) return [];
  state.lastWaitReportMs = atMs;
  return [{ kind: 'report', report: { kind: 'waiting', reason } }];
}

/** The trainer is asked to go: what the open round holds is committed where a quorum answered, then a checkpoint. */
function onDrain(state: TrainerState, atMs: number): Effect[] {
  const hasQuorum = reasonToWait(state, Number.POSITIVE_INFINITY) === undefined;
  const mayClose = state.phase === 'training' && !state.recovery && hasQuorum;
  const effects = mayClose ? closeRound(state, atMs) : [];
  if (effects.some(({ kind }) => kind === 'finish')) return effects;
  const { round } = state.normaliser;
  const text = `trainer drained after ${round} rounds; go on with --resume`;
  return [
    ...effects,
    { kind: 'checkpoint', round, best: false },
    ...finish(state, EXIT.drained, Notice_Kind.TRAINER_DRAINS, text),
  ];
}
