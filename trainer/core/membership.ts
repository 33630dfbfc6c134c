/** Who takes part: joins, resumed names, leases, and replicas that deviate. Membership ends with the lease, not with the stream. */
import { type Hello, type Notice, Notice_Kind, type ReplicaDigest, Welcome_CatchUp } from '../../proto/gen/onebyte.ts';
import { DIGEST_BYTES, MAX_NAME_LENGTH, MAX_REASON_LENGTH, MAX_WORKERS } from '../../proto/limits.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { peerText } from '../../proto/peer-text.ts';
import { resumeSecretOf, sameBytes, withProof } from '../../proto/record-proof.ts';
import { catchUpOf, recordsFrom } from './catch-up.ts';
import { finish } from './commit.ts';
import { askAgain, startEvaluation } from './evaluation.ts';
import { notice } from './messages.ts';
import { isClaimSettled } from './recovery.ts';
import { expel, refuse, remove } from './removal.ts';
import type { Effect, Event, Member, Refusal, Report, StreamId, TrainerState } from './state.ts';

/** Times that a worker whose replica deviates may catch up before it is refused. */
const CATCH_UPS = 2;

type HelloEvent = Extract<Event, { kind: 'hello' }>;

/** A stream introduces itself: it gets a number (its own again, if the name has one) and a welcome, or is refused. */
export function onHello(state: TrainerState, { atMs, stream, hello }: HelloEvent): Effect[] {
  const problem = helloProblem(state, hello);
  if (problem) return refuse(stream, ...problem);
  if (state.lastWord) return tellLast(state, state.lastWord, stream, hello);
  const known = state.numbers.get(hello.name);
  const worker = known ?? hello.requestedWorker ?? nextNumber(state);
  if (known === undefined && [...state.numbers.values()].includes(worker))
    return refuse(stream, 'name', `worker number ${worker} belongs to another name`);
  if (worker >= MAX_WORKERS) return refuse(stream, 'full', `this run has given out its ${MAX_WORKERS} worker numbers`);

  const effects: Effect[] = [];
  const before = state.members.get(worker);
  if (before?.stream !== undefined) {
    state.workerOfStream.delete(before.stream);
    effects.push({
      kind: 'refuse',
      stream: before.stream,
      refusal: 'replaced',
      text: `a newer stream joined as ${hello.name}`,
    });
  }
  if (!before) {
    effects.push({ kind: 'append', frames: [{ frame: { $case: 'joined', value: { worker, name: hello.name } } }] });
    state.numbers.set(hello.name, worker);
  }
  const member = before ?? newMember(worker, hello.name);
  Object.assign(member, { stream, lastHeardMs: atMs, expectedFrom: undefined, claim: undefined });
  state.members.set(worker, member);
  state.workerOfStream.set(stream, worker);
  state.recovery?.awaited.delete(hello.name);
  effects.push(...welcome(state, member, stream, hello), {
    kind: 'report',
    report: { kind: 'joined', worker, name: hello.name, resumed: before !== undefined },
  });
  return effects;
}

/**
 * After the last word nobody joins: the next trainer would wait for a member that the log says never left. A worker that
 * had joined may still lack the last records of a run that is done.
 */
function tellLast(state: TrainerState, lastWord: Notice, stream: StreamId, hello: Hello): Effect[] {
  const { kind, text } = lastWord;
  const worker = kind === Notice_Kind.RUN_DONE ? state.numbers.get(hello.name) : undefined;
  const welcomed = worker === undefined ? [] : welcome(state, newMember(worker, hello.name), stream, hello);
  return [...welcomed, { kind: 'send', stream, message: notice(kind, text) }];
}

/** The welcome, and the records that the worker lacks where it is to catch up by them. */
function welcome(state: TrainerState, member: Member, stream: StreamId, hello: Hello): Effect[] {
  const { settings, rounds, devRows, runSecret } = state.rules;
  const { round } = state.normaliser;
  const { worker, name } = member;
  const catchUp = catchUpOf(state, hello);
  if (catchUp === Welcome_CatchUp.GIVE_RECORDS) member.claim = { rounds: hello.replica!.round, gaveAll: false };
  const resumeSecret = resumeSecretOf(runSecret, worker, name);
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

const newMember = (worker: number, name: string): Member => ({
  worker,
  name,
  stream: undefined,
  lastHeardMs: 0,
  expectedFrom: undefined,
  digestMismatches: 0,
  claim: undefined,
});

/**
 * Above all that were given, since a worker with a smaller one of its own may still come; once the last is given, the smallest that
 * is free. Numbers in records count too: the log may have lost who had them.
 */
function nextNumber({ numbers, accepted }: TrainerState): number {
  const given = new Set([...numbers.values(), ...accepted.keys()]);
  let number = [...given].reduce((most, worker) => Math.max(most, worker), -1) + 1;
  if (number >= MAX_WORKERS) for (number = 0; given.has(number); ) number++;
  return number;
}

function helloProblem(state: TrainerState, hello: Hello): [Refusal, string] | undefined {
  if (hello.name.length === 0 || hello.name.length > MAX_NAME_LENGTH || !/^[\w.:@/-]+$/.test(hello.name))
    return ['invalid', `worker name: expected 1…${MAX_NAME_LENGTH} letters, digits or . _ : @ / -`];
  if (Buffer.compare(hello.runConfigSha256, state.rules.runConfigSha256) !== 0)
    return ['config', `worker ${hello.name} goes by another run config than this trainer`];
  if (hello.replica && hello.replica.sha256.length !== DIGEST_BYTES)
    return ['invalid', digestProblem(`worker ${hello.name}`, hello.replica)];
  const holder = state.members.get(state.numbers.get(hello.name) ?? -1);
  const secret = holder && resumeSecretOf(state.rules.runSecret, holder.worker, holder.name);
  if (secret && hello.resumeSecret.length > 0 && !sameBytes(hello.resumeSecret, secret))
    return ['name', `the secret of worker ${hello.name} is not the one of its last welcome`];
  const { round } = state.normaliser;
  if (hello.replica && hello.replica.round > round && !state.recovery)
    return ['ahead', `worker ${hello.name} holds ${hello.replica.round} records, this run has made ${round}`];
  return undefined;
}

/**
 * A worker says where its replica stands. The first digest after a welcome makes it a member that rounds wait for: at
 * once before the first record, from the next round on otherwise. A digest that differs from the trainer's means catching up.
 */
export function onDigest(state: TrainerState, stream: StreamId, digest: ReplicaDigest): Effect[] {
  const member = state.members.get(state.workerOfStream.get(stream)!)!;
  if (digest.sha256.length !== DIGEST_BYTES)
    return refuse(stream, 'invalid', digestProblem(`worker ${member.worker}`, digest));
  if (!isClaimSettled(state, member)) return [];
  const own = state.ownDigests.get(digest.round);
  const agrees = !own || Buffer.compare(own, digest.sha256) === 0;
  const report: Effect = { kind: 'report', report: digestReport(member.worker, digest, agrees) };
  return [report, ...(agrees ? onAgreed(state, member, stream) : onDeviant(state, member, stream, digest))];
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

function onAgreed(state: TrainerState, member: Member, stream: StreamId): Effect[] {
  if (member.expectedFrom !== undefined) return [];
  const { round } = state.normaliser;
  member.expectedFrom = round === 0 ? 0 : round + 1;
  const ready = [...state.members.values()].filter((m) => m.expectedFrom !== undefined).length;
  const first = round === 0 && ready === state.rules.settings.startWorkers;
  if (first || (state.phase === 'finalEvaluation' && !state.evaluation)) return startEvaluation(state);
  return askAgain(state, member.worker, stream);
}

function onDeviant(state: TrainerState, member: Member, stream: StreamId, digest: ReplicaDigest): Effect[] {
  const { round } = digest;
  if (isTrainerDeviant(state, member.worker, digest)) {
    const text = `after ${round} records most workers hold the same replica, and it is not the trainer's: replay the round log and compare`;
    return finish(state, EXIT.durableStore, Notice_Kind.RUN_FAILED, text);
  }
  member.digestMismatches++;
  member.expectedFrom = undefined;
  const report: Effect = { kind: 'report', report: { kind: 'deviant', worker: member.worker, round } };
  const text = `the replica of worker ${member.worker} differs from the trainer's after ${round} records`;
  if (member.digestMismatches > CATCH_UPS)
    return [report, ...remove(state, member, 'deviant replica'), ...refuse(stream, 'deviant', text)];
  return [report, { kind: 'send', stream, message: notice(Notice_Kind.CATCH_UP, text) }];
}

/** Notes a digest that is not the trainer's; true when most members, and more than one, hold that same replica. */
function isTrainerDeviant({ deviations, members }: TrainerState, worker: number, digest: ReplicaDigest): boolean {
  const hex = Buffer.from(digest.sha256).toString('hex');
  const ofRound = deviations.get(digest.round) ?? new Map<number, string>();
  deviations.set(digest.round, ofRound.set(worker, hex));
  for (const round of deviations.keys()) if (round < digest.round - 256) deviations.delete(round);
  const same = [...ofRound].filter(([number, other]) => other === hex && members.has(number)).length;
  return same > 1 && same > members.size / 2;
}

export function onLeave(state: TrainerState, stream: StreamId, reason: string): Effect[] {
  const member = state.members.get(state.workerOfStream.get(stream)!)!;
  return remove(state, member, peerText(reason, MAX_REASON_LENGTH));
}

/** The stream is gone; the member stays until its lease ends. */
export function onClosed(state: TrainerState, stream: StreamId): Effect[] {
  const member = state.members.get(state.workerOfStream.get(stream)!);
  state.workerOfStream.delete(stream);
  if (!member) return [];
  member.stream = undefined;
  return [{ kind: 'report', report: { kind: 'disconnected', worker: member.worker, name: member.name } }];
}

/** Members whose lease has run out leave. While the trainer itself stood still (a pause), nobody could be heard. */
export function expelSilent(state: TrainerState, atMs: number): Effect[] {
  const { leaseMs, heartbeatMs } = state.rules.settings;
  const gapMs = atMs - state.lastTickMs;
  state.lastTickMs = atMs;
  if (gapMs > heartbeatMs) for (const member of state.members.values()) member.lastHeardMs += gapMs;
  const silent = [...state.members.values()].filter(({ lastHeardMs }) => atMs - lastHeardMs > leaseMs);
  return silent.flatMap((member) => expel(state, member, 'silent', `not heard of for ${leaseMs} ms`));
}
