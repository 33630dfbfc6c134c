/**
 * Replicas that differ. A worker that holds another replica than the trainer catches up, and is refused after the second
 * time. Where most members agree with each other and not with the trainer, its log decides: it is replayed, and whoever does
 * not hold what it gives is wrong. Only members whose contributions are in records have a voice, one for each connection.
 */
import { Notice_Kind, type ReplicaDigest } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { finish } from './last-word.ts';
import { refuse, tell } from './notice.ts';
import { voices } from './quorum.ts';
import { expel, remove } from './removal.ts';
import type { Effect, Event, Member, StreamId, TrainerState } from './state.ts';

/** Times that a worker whose replica deviates may catch up before it is refused. */
const CATCH_UPS = 2;
/** Rounds for which digests are kept. */
const KEPT_ROUNDS = 256;

export function onOwnDigest(state: TrainerState, round: number, sha256: Buffer): Effect[] {
  state.ownDigests.set(round, sha256);
  for (const kept of state.ownDigests.keys()) if (kept < round - KEPT_ROUNDS) state.ownDigests.delete(kept);
  return [];
}

/** A member's digest is not the trainer's: it catches up, and the log is asked where most say the same. */
export function onDeviant(
  state: TrainerState,
  member: Member,
  stream: StreamId,
  digest: ReplicaDigest,
  atMs: number,
): Effect[] {
  const { round } = digest;
  const doubt = noteDeviation(state, member.worker, digest);
  member.digestMismatches++;
  member.expectedFrom = undefined;
  const report: Effect = { kind: 'report', report: { kind: 'deviant', worker: member.worker, round } };
  if (doubt.length > 0) return [report, ...doubt];
  const text = `the replica of worker ${member.worker} differs from the trainer's after ${round} records`;
  if (member.digestMismatches > CATCH_UPS)
    return [report, ...remove(state, member, 'deviant replica', atMs), ...refuse(stream, 'deviant', text)];
  return [report, tell(stream, Notice_Kind.CATCH_UP, text)];
}

/** Notes a digest that is not the trainer's, and asks the log when most voices, and more than one, hold that same replica. */
function noteDeviation(state: TrainerState, worker: number, { round, sha256 }: ReplicaDigest): Effect[] {
  const { deviations } = state;
  const hex = Buffer.from(sha256).toString('hex');
  const ofRound = deviations.get(round) ?? new Map<number, string>();
  deviations.set(round, ofRound.set(worker, hex));
  for (const kept of deviations.keys()) if (kept < round - KEPT_ROUNDS) deviations.delete(kept);
  const all = voices(state);
  const same = all.filter((voice) => ofRound.get(voice.worker) === hex).length;
  if (state.doubt || same < 2 || same <= all.length / 2) return [];
  state.doubt = { round, sha256: hex };
  return [
    { kind: 'report', report: { kind: 'doubted', round, members: same } },
    { kind: 'replayLog', round },
  ];
}

/** The log has been replayed: it agrees with the trainer, with the members that doubted it, or with nobody. */
export function onLogReplayed(state: TrainerState, event: Extract<Event, { kind: 'logReplayed' }>): Effect[] {
  const { doubt } = state;
  if (!doubt || doubt.round !== event.round) return [];
  state.doubt = undefined;
  const { round } = doubt;
  const own = state.ownDigests.get(round);
  const isTrainerRight = own !== undefined && Buffer.compare(own, event.sha256) === 0;
  const settled: Effect = { kind: 'report', report: { kind: 'settled', round, isTrainerRight } };
  if (isTrainerRight) return [settled, ...expelDeviants(state, doubt.sha256, round, event.atMs)];
  if (event.sha256.toString('hex') !== doubt.sha256) {
    const text = `after ${round} records the round log gives a replica that is neither the trainer's nor that of most workers: replay the round log and compare`;
    return finish(state, EXIT.durableStore, Notice_Kind.RUN_FAILED, text);
  }
  state.normaliser = event.normaliser;
  state.ownDigests.clear();
  state.deviations.clear();
  for (const member of state.members.values()) member.digestMismatches = 0;
  const returns = [...state.members.values()].flatMap((member): Effect[] => {
    if (member.expectedFrom !== undefined || member.stream === undefined) return [];
    const text = 'the trainer has made its replica anew from its log';
    return [tell(member.stream, Notice_Kind.CATCH_UP, text)];
  });
  return [settled, { kind: 'takeReplayed' }, ...returns];
}

function expelDeviants(state: TrainerState, sha256: string, round: number, atMs: number): Effect[] {
  const deviants = [...(state.deviations.get(round) ?? [])].flatMap(([worker, hex]) => {
    const member = state.members.get(worker);
    return member && hex === sha256 ? [member] : [];
  });
  const text = `its replica after ${round} records is not what the round log gives`;
  return deviants.flatMap((member) => expel(state, member, 'deviant', text, atMs));
}
