/**
 * After a restart: records that the log lost come back from workers, or the trainer stops; none is made anew. A worker is
 * believed for the proofs of the records it shows, not for its word, so a liar costs itself its place and others nothing.
 */
import { exponentInForce, isDecodable } from '../../kernels/learning-rule.ts';
import { Notice_Kind, type Record } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { isProven } from '../../proto/record-proof.ts';
import { commitRecord } from './commit.ts';
import { finish } from './last-word.ts';
import { tell } from './notice.ts';
import { expel } from './removal.ts';
import type { Effect, Member, TrainerState } from './state.ts';

/** A worker shows a record that the log may have lost. */
export function onRecordGiven(state: TrainerState, member: Member, record: Record, atMs: number): Effect[] {
  const { recovery } = state;
  if (!recovery || !member.claim) return [];
  if (!isProven(state.rules.runSecret, record))
    return expel(state, member, 'ahead', `record ${record.round} of worker ${member.worker} is none of this run`, atMs);
  recovery.provenRounds = Math.max(recovery.provenRounds, record.round + 1);
  const { round } = state.normaliser;
  if (record.round !== round || state.phase !== 'training') return [];
  // It may follow on another log of this run: one that a copy was restored of since.
  const isOurs =
    record.exponent === exponentInForce(state.normaliser) &&
    record.staleness.every((staleness) => isDecodable(state.normaliser, staleness));
  if (!isOurs)
    return expel(
      state,
      member,
      'ahead',
      `record ${round} of worker ${member.worker} does not follow on this log`,
      atMs,
    );
  return commitRecord(state, { ...record, proof: undefined }, atMs, undefined);
}

/** A worker that was ahead has shown all it holds. True when the trainer now holds as much. */
export function isClaimSettled(state: TrainerState, member: Member): boolean {
  if (!member.claim) return true;
  member.claim.gaveAll = true;
  if (member.claim.rounds > state.normaliser.round) return false;
  member.claim = undefined;
  return true;
}

/** Why no round may close yet; undefined when the past is settled. */
export function reasonToRecover({ recovery, members, former, lastTickMs }: TrainerState): string | undefined {
  if (!recovery || lastTickMs >= former.untilMs) return undefined;
  if ([...members.values()].some(({ claim }) => claim && !claim.gaveAll)) return 'takes records back from workers';
  const [name] = recovery.awaited;
  return name === undefined
    ? undefined
    : `waits for ${recovery.awaited.size} workers of before, which may hold records that the log lost, at most for a lease (${name}, …)`;
}

/** Ends the recovery: a record that is known to exist and that nobody could give stops the trainer. */
export function endRecovery(state: TrainerState, atMs: number): Effect[] {
  const { recovery } = state;
  if (!recovery) return [];
  state.recovery = undefined;
  state.openedMs = atMs;
  const { round } = state.normaliser;
  if (recovery.provenRounds > round) {
    const text = `the round log holds ${round} records, but workers hold ${recovery.provenRounds} and none of them record ${round}. Restore the log from a copy; going on would remake acknowledged records`;
    return finish(state, EXIT.durableStore, Notice_Kind.RUN_FAILED, text);
  }
  return [...state.members.values()].flatMap((member) => settle(state, member, round, atMs));
}

/** What others gave made the trainer as far as the member: it catches up. A claim that nothing stands behind is refused. */
function settle(state: TrainerState, member: Member, round: number, atMs: number): Effect[] {
  const { claim, stream, worker } = member;
  if (!claim) return [];
  if (claim.rounds > round)
    return expel(state, member, 'ahead', `worker ${worker} shows no record beyond the ${round} here`, atMs);
  member.claim = undefined;
  const text = `the records up to ${round} came from other workers`;
  return stream === undefined ? [] : [tell(stream, Notice_Kind.CATCH_UP, text)];
}
