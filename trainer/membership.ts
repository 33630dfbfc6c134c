/** Who takes part: joins, resumed names, leases, and replicas that deviate. Membership ends with the lease, not with the stream. */
import { timingSafeEqual } from 'node:crypto';
import { type Hello, Notice_Kind, type ReplicaDigest } from '../proto/gen/onebyte.ts';
import { MAX_NAME_LENGTH, MAX_WORKERS } from '../proto/limits.ts';
import { restartEvaluationWithout, startEvaluation } from './evaluation.ts';
import { notice } from './messages.ts';
import type { Effect, Event, Member, Refusal, Report, StreamId, TrainerState } from './state.ts';

/** Times that a worker whose replica deviates may catch up before it is refused. */
const CATCH_UPS = 2;

type HelloEvent = Extract<Event, { kind: 'hello' }>;

const refuse = (stream: StreamId, refusal: Refusal, text: string): Effect[] => [
  { kind: 'refuse', stream, refusal, text },
];

/** A stream introduces itself: it gets a number (its own again, if the name has one) and a welcome, or is refused. */
export function onHello(state: TrainerState, { atMs, stream, hello, newSecret }: HelloEvent): Effect[] {
  const problem = helloProblem(state, hello);
  if (problem) return refuse(stream, ...problem);
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
  Object.assign(member, { stream, resumeSecret: newSecret, lastHeardMs: atMs, expectedFrom: undefined });
  state.members.set(worker, member);
  state.workerOfStream.set(stream, worker);
  const { round } = state.normaliser;
  const welcome = {
    worker,
    resumeSecret: newSecret,
    round,
    heartbeatMs: state.rules.settings.heartbeatMs,
    epoch: state.epoch,
    rounds: state.rules.rounds,
  };
  effects.push(
    { kind: 'send', stream, message: { message: { $case: 'welcome', value: welcome } } },
    { kind: 'report', report: { kind: 'joined', worker, name: hello.name, resumed: before !== undefined } },
  );
  if (state.phase === 'done')
    effects.push({ kind: 'send', stream, message: notice(Notice_Kind.RUN_DONE, `${round} rounds done`) });
  return effects;
}

const newMember = (worker: number, name: string): Member => ({
  worker,
  name,
  stream: undefined,
  resumeSecret: Buffer.alloc(0),
  lastHeardMs: 0,
  expectedFrom: undefined,
  gradients: 0,
  late: 0,
  digestMismatches: 0,
});

const nextNumber = (state: TrainerState): number => Math.max(-1, ...state.numbers.values()) + 1;

function helloProblem(state: TrainerState, hello: Hello): [Refusal, string] | undefined {
  if (hello.name.length === 0 || hello.name.length > MAX_NAME_LENGTH || !/^[\w.:@/-]+$/.test(hello.name))
    return ['invalid', `worker name: expected 1…${MAX_NAME_LENGTH} letters, digits or . _ : @ / -`];
  if (Buffer.compare(hello.runConfigSha256, state.rules.runConfigSha256) !== 0)
    return ['config', `worker ${hello.name} goes by another run config than this trainer`];
  const holder = state.members.get(state.numbers.get(hello.name) ?? -1);
  if (holder && hello.resumeSecret.length > 0 && !sameSecret(hello.resumeSecret, holder.resumeSecret))
    return ['name', `the secret of worker ${hello.name} is not the one of its last welcome`];
  if (hello.replica && hello.replica.round > state.normaliser.round)
    return [
      'ahead',
      `worker ${hello.name} holds ${hello.replica.round} records, the round log ${state.normaliser.round}: the log lost records that were acknowledged`,
    ];
  return undefined;
}

const sameSecret = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);

/**
 * A worker says where its replica stands. The first digest after a welcome makes it a member that rounds wait for: at
 * once before the first record or when no other is, from the next round on otherwise. A digest that differs from the trainer's means catching up.
 */
export function onDigest(state: TrainerState, stream: StreamId, digest: ReplicaDigest): Effect[] {
  const member = state.members.get(state.workerOfStream.get(stream)!)!;
  const own = state.ownDigests.get(digest.round);
  const agrees = !own || Buffer.compare(own, digest.sha256) === 0;
  const report: Effect = { kind: 'report', report: digestReport(member.worker, digest, agrees) };
  return [report, ...(agrees ? onAgreed(state, member) : onDeviant(state, member, stream, digest.round))];
}

const digestReport = (worker: number, { round, sha256 }: ReplicaDigest, agrees: boolean): Report => ({
  kind: 'digest',
  worker,
  round,
  sha256: sha256.toString('hex'),
  agrees,
});

function onAgreed(state: TrainerState, member: Member): Effect[] {
  if (member.expectedFrom !== undefined) return [];
  const { round } = state.normaliser;
  const others = [...state.members.values()].some((m) => m.expectedFrom !== undefined && m.expectedFrom <= round);
  member.expectedFrom = round === 0 || !others ? round : round + 1;
  const ready = [...state.members.values()].filter((m) => m.expectedFrom !== undefined).length;
  const first = round === 0 && ready === state.rules.settings.startWorkers;
  return first || (state.phase === 'finalEvaluation' && !state.evaluation) ? startEvaluation(state) : [];
}

function onDeviant(state: TrainerState, member: Member, stream: StreamId, round: number): Effect[] {
  member.digestMismatches++;
  member.expectedFrom = undefined;
  const report: Effect = { kind: 'report', report: { kind: 'deviant', worker: member.worker, round } };
  const text = `the replica of worker ${member.worker} differs from the trainer's after ${round} records`;
  if (member.digestMismatches > CATCH_UPS)
    return [report, ...remove(state, member, 'deviant replica'), ...refuse(stream, 'deviant', text)];
  return [report, { kind: 'send', stream, message: notice(Notice_Kind.CATCH_UP, text) }];
}

export function onLeave(state: TrainerState, stream: StreamId, reason: string): Effect[] {
  return remove(state, state.members.get(state.workerOfStream.get(stream)!)!, reason);
}

/** The stream is gone; the member stays until its lease ends. */
export function onClosed(state: TrainerState, stream: StreamId): Effect[] {
  const member = state.members.get(state.workerOfStream.get(stream)!);
  state.workerOfStream.delete(stream);
  if (!member) return [];
  member.stream = undefined;
  return [{ kind: 'report', report: { kind: 'disconnected', worker: member.worker, name: member.name } }];
}

export function expelSilent(state: TrainerState, atMs: number): Effect[] {
  const { leaseMs } = state.rules.settings;
  const silent = [...state.members.values()].filter(({ lastHeardMs }) => atMs - lastHeardMs > leaseMs);
  return silent.flatMap((member) => remove(state, member, `not heard of for ${leaseMs} ms`));
}

function remove(state: TrainerState, member: Member, reason: string): Effect[] {
  const { worker, name } = member;
  state.members.delete(worker);
  if (member.stream !== undefined) state.workerOfStream.delete(member.stream);
  return [
    { kind: 'append', frames: [{ frame: { $case: 'left', value: { worker, reason } } }] },
    { kind: 'report', report: { kind: 'left', worker, name, reason } },
    ...restartEvaluationWithout(state, worker),
  ];
}
