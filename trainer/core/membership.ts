/** Who takes part: joins, resumed names, leases, and replicas that deviate. Membership ends with the lease, not with the stream. */
import { isTrainingLoss } from '../../proto/evaluation.ts';
import {
  type Heartbeat,
  type Hello,
  type Notice,
  Notice_Kind,
  type ReplicaDigest,
  Welcome_CatchUp,
} from '../../proto/gen/onebyte.ts';
import { DIGEST_BYTES, MAX_DEVICE_LENGTH, MAX_REASON_LENGTH, MAX_WORKERS } from '../../proto/limits.ts';
import { peerText } from '../../proto/peer-text.ts';
import { resumeSecretOf, withProof } from '../../proto/record-proof.ts';
import { nameProblem } from '../../proto/worker-name.ts';
import { catchUpOf, recordsFrom } from './catch-up.ts';
import { askAgain, startEvaluation } from './evaluation.ts';
import { type Place, placeFor } from './names.ts';
import { refuse, tell } from './notice.ts';
import { FULL_TRUST, NO_TRUST, readyMembers } from './quorum.ts';
import { isClaimSettled } from './recovery.ts';
import { expel, remove } from './removal.ts';
import type { Effect, Event, Member, Origin, Refusal, Report, StreamId, TrainerState } from './state.ts';
import { onDeviant } from './votes.ts';

/** Disputes about evaluation counts that a member may lose before it is refused. */
const OUTVOTED = 2;
/** The origin of a member that is none. */
const NOWHERE: Origin = { connection: '', address: '' };

type HelloEvent = Extract<Event, { kind: 'hello' }>;

/** A stream introduces itself: it gets a number (its own again, where it shows the secret of its welcome) and a welcome, or is refused. */
export function onHello(state: TrainerState, { atMs, stream, origin, hello }: HelloEvent): Effect[] {
  const problem = helloProblem(state, hello);
  if (problem) return refuse(stream, ...problem);
  if (state.lastWord) return tellLast(state, state.lastWord, stream, hello);
  const place = placeFor(state, hello, origin, atMs);
  if ('refusal' in place) return refuse(stream, place.refusal, place.text);
  const { worker, holder, squatter } = place;
  const replaced = holder?.stream ?? squatter?.stream;
  const effects = replaced === undefined ? [] : refuse(replaced, 'replaced', `a newer stream joined as ${hello.name}`);
  if (holder?.stream !== undefined) state.workerOfStream.delete(holder.stream);
  if (squatter) effects.push(...remove(state, squatter, 'the last who contributed under its name is back', atMs));
  const member = holder ?? newMember(state, hello.name, origin, place);
  const { noEvaluation = false } = hello;
  const computesOn = hello.computesOn && peerText(hello.computesOn, MAX_DEVICE_LENGTH);
  Object.assign(member, {
    stream,
    origin,
    computesOn,
    trainingLoss: undefined,
    noEvaluation,
    lastHeardMs: atMs,
    expectedFrom: undefined,
    claim: undefined,
  });
  state.members.set(worker, member);
  state.workerOfStream.set(stream, worker);
  state.recovery?.awaited.delete(hello.name);
  return [
    ...effects,
    ...welcome(state, member, stream, hello),
    { kind: 'report', report: { kind: 'joined', worker, name: hello.name, resumed: holder !== undefined, computesOn } },
  ];
}

/**
 * After the last word nobody joins: the next trainer would wait for a member that the log says never left. A worker that
 * had joined may still lack the last records of a run that is done.
 */
function tellLast(state: TrainerState, lastWord: Notice, stream: StreamId, hello: Hello): Effect[] {
  const { kind, text } = lastWord;
  const worker = kind === Notice_Kind.RUN_DONE ? state.numbers.get(hello.name) : undefined;
  const welcomed =
    worker === undefined ? [] : welcome(state, newMember(state, hello.name, NOWHERE, { worker }), stream, hello);
  return [...welcomed, tell(stream, kind, text)];
}

/** The welcome, and the records that the worker lacks where it is to catch up by them. */
function welcome(state: TrainerState, member: Member, stream: StreamId, hello: Hello): Effect[] {
  const { settings, rounds, devRows, runSecret } = state.rules;
  const { round } = state.normaliser;
  const { worker, name } = member;
  const catchUp = catchUpOf(state, hello);
  if (catchUp === Welcome_CatchUp.GIVE_RECORDS) member.claim = { rounds: hello.replica!.round, gaveAll: false };
  const resumeSecret = resumeSecretOf(runSecret, worker, name, member.membership);
  const { heartbeatMs } = settings;
  const value = { worker, resumeSecret, round, heartbeatMs, epoch: state.epoch, rounds, catchUp, devRows };
  const records = catchUp === Welcome_CatchUp.RECORDS ? (recordsFrom(state, hello.replica!.round) ?? []) : [];
  return [
    { kind: 'send', stream, message: { message: { $case: 'welcome', value } } },
    ...records.map(
      (record): Effect => ({
        kind: 'send',
        stream,
        message: { message: { $case: 'record', value: withProof(runSecret, record) } },
      }),
    ),
  ];
}

const newMember = (
  state: TrainerState,
  name: string,
  origin: Origin,
  { worker, membership = state.nextMembership++, isNamed = false }: Place,
): Member => ({
  worker,
  name,
  membership,
  isNamed,
  origin,
  computesOn: undefined,
  stream: undefined,
  lastHeardMs: 0,
  expectedFrom: undefined,
  readyMs: 0,
  arrivals: [],
  ...(state.normaliser.round === 0 || state.former.names.has(name) ? FULL_TRUST : NO_TRUST),
  trainingLoss: undefined,
  isSpent: false,
  noEvaluation: false,
  missedRanges: 0,
  isDisputed: false,
  outvoted: 0,
  digestMismatches: 0,
  claim: undefined,
});

/** A worker lives, and may say what its minibatches lost and how its privacy budget stands. That is shown, and decides at most what is said of a run that stops. */
export function onHeartbeat(member: Member, { privacy, trainingLoss }: Heartbeat): Effect[] {
  const { worker } = member;
  if (trainingLoss && isTrainingLoss(trainingLoss)) member.trainingLoss = trainingLoss;
  if (!privacy || ![privacy.epsilon, privacy.delta, privacy.spent].every((x) => Number.isFinite(x) && x >= 0))
    return [];
  member.isSpent = privacy.exhausted;
  return [{ kind: 'report', report: { kind: 'privacy', worker, privacy } }];
}

function helloProblem(state: TrainerState, hello: Hello): [Refusal, string] | undefined {
  const wrong = nameProblem(hello.name);
  if (wrong !== undefined) return ['invalid', `worker name: ${wrong}`];
  if (Buffer.compare(hello.runConfigSha256, state.rules.runConfigSha256) !== 0)
    return ['config', `worker ${hello.name} goes by another run config than this trainer`];
  if (hello.requestedWorker !== undefined && hello.requestedWorker >= MAX_WORKERS)
    return ['invalid', `worker ${hello.name} asks for number ${hello.requestedWorker}, expected 0…${MAX_WORKERS - 1}`];
  if (hello.replica && hello.replica.sha256.length !== DIGEST_BYTES)
    return ['invalid', digestProblem(`worker ${hello.name}`, hello.replica)];
  const { round } = state.normaliser;
  if (hello.replica && hello.replica.round > round && !state.recovery)
    return ['ahead', `worker ${hello.name} holds ${hello.replica.round} records, this run has made ${round}`];
  return undefined;
}

/**
 * A worker says where its replica stands. The first digest after a welcome makes it a member that rounds wait for: at
 * once before the first record, from the next round on otherwise. A digest that differs from the trainer's means catching up.
 */
export function onDigest(
  state: TrainerState,
  member: Member,
  stream: StreamId,
  digest: ReplicaDigest,
  atMs: number,
): Effect[] {
  if (digest.sha256.length !== DIGEST_BYTES)
    return refuse(stream, 'invalid', digestProblem(`worker ${member.worker}`, digest));
  if (!isClaimSettled(state, member)) return [];
  const own = state.ownDigests.get(digest.round);
  const agrees = !own || Buffer.compare(own, digest.sha256) === 0;
  const report: Effect = { kind: 'report', report: digestReport(member.worker, digest, agrees) };
  return [report, ...(agrees ? onAgreed(state, member, stream, atMs) : onDeviant(state, member, stream, digest, atMs))];
}

const digestProblem = (who: string, { sha256 }: ReplicaDigest): string =>
  `digest of ${who}: ${sha256.length} bytes, expected ${DIGEST_BYTES}`;

const digestReport = (worker: number, { round, sha256 }: ReplicaDigest, agrees: boolean): Report => ({
  kind: 'digest',
  worker,
  round,
  sha256: sha256.toString('hex'),
  agrees,
});

function onAgreed(state: TrainerState, member: Member, stream: StreamId, atMs: number): Effect[] {
  if (member.expectedFrom !== undefined) return [];
  const { round } = state.normaliser;
  member.expectedFrom = round === 0 ? 0 : round + 1;
  member.readyMs = atMs;
  const ready = readyMembers(state).length;
  state.sharers = Math.max(state.sharers, ready);
  const first = round === 0 && ready === state.rules.settings.startWorkers;
  if (first) state.openedMs = atMs;
  if (first || (state.phase === 'finalEvaluation' && !state.evaluation)) return startEvaluation(state, atMs);
  return askAgain(state, member.worker, stream, atMs);
}

export const onLeave = (state: TrainerState, member: Member, reason: string, atMs: number): Effect[] =>
  remove(state, member, peerText(reason, MAX_REASON_LENGTH), atMs);

/** The stream is gone; the member stays until its lease ends. */
export function onClosed(state: TrainerState, member: Member, stream: StreamId): Effect[] {
  state.workerOfStream.delete(stream);
  member.stream = undefined;
  return [{ kind: 'report', report: { kind: 'disconnected', worker: member.worker, name: member.name } }];
}

/** Members whose lease has run out leave. While the trainer itself stood still (a pause), nobody could be heard. */
export function expelSilent(state: TrainerState, atMs: number): Effect[] {
  const { former } = state;
  const { leaseMs, heartbeatMs } = state.rules.settings;
  const gapMs = atMs - state.lastTickMs;
  state.lastTickMs = atMs;
  if (gapMs > heartbeatMs) {
    for (const member of state.members.values()) member.lastHeardMs += gapMs;
    former.untilMs += gapMs;
  }
  if (atMs >= former.untilMs) former.names.clear();
  const silent = [...state.members.values()].filter(({ lastHeardMs }) => atMs - lastHeardMs > leaseMs);
  return silent.flatMap((member) => expel(state, member, 'silent', `not heard of for ${leaseMs} ms`, atMs));
}

/** Members whose evaluation counts were wrong too often are refused. */
export function expelOutvoted(state: TrainerState, atMs: number): Effect[] {
  const liars = [...state.members.values()].filter(({ outvoted }) => outvoted >= OUTVOTED);
  const text = `most members counted otherwise than it, ${OUTVOTED} times`;
  return liars.flatMap((member) => expel(state, member, 'deviant', text, atMs));
}
