/** What a hostile member does, one attack at a time: one for each thing that docs/robustness.md says a member may try. */
import type { TrainerMessage } from '../../proto/gen/onebyte.ts';
import { DIGEST_BYTES, DIGEST_EVERY } from '../../proto/limits.ts';
import { recordOf } from '../../proto/record.ts';
import type { HostileMember, HostilePeer } from './hostile-peer.ts';

export type Message = TrainerMessage['message'];

export interface Scene {
  readonly peer: HostilePeer;
  readonly member: HostileMember;
  /** Names of the honest workers. */
  readonly honest: readonly string[];
  /** K. */
  readonly directions: number;
  random(): number;
}

/** Is called with the welcome, then with every message that the trainer sends, until its turn is over. */
export type Attack = (scene: Scene, message: Message) => void;

/** Messages of one flood, a round. */
const FLOOD = 200;

/** The round that a message opens. */
function openedBy(message: Message): number | undefined {
  if (message?.$case === 'welcome') return message.value.round;
  return message?.$case === 'record' ? message.value.round + 1 : undefined;
}

/** Calls `act` with each round as it opens. */
const eachRound =
  (act: (scene: Scene, round: number) => void): Attack =>
  (scene, message) => {
    const round = openedBy(message);
    if (round !== undefined) act(scene, round);
  };

/** Bytes of ±448, the largest there are. */
const loud = ({ directions, random }: Scene): Buffer =>
  Buffer.from(Array.from({ length: directions }, () => (random() < 0.5 ? 0x7e : 0xfe)));

const contributeLoudly = eachRound((scene, round) => scene.member.contribute(round, 0, loud(scene)));

/** Contributes as anybody may, and does `more`. */
const beside =
  (more: Attack): Attack =>
  (scene, message) => {
    contributeLoudly(scene, message);
    more(scene, message);
  };

/** Answers evaluations with counts of `rows` rows. */
const counting = (counts: (rows: number) => { correct: number; classified: number; lossSum: number }): Attack =>
  beside(({ member }, message) => {
    if (message?.$case !== 'evaluate') return;
    member.send({ $case: 'evaluation', value: { ...message.value, ...counts(message.value.rows) } });
  });

const once =
  (act: (scene: Scene) => void): Attack =>
  (scene, message) => {
    if (message?.$case === 'welcome') act(scene);
  };

function fillRecord({ member, directions }: Scene, round: number): void {
  for (let i = 0; i < FLOOD; i++) member.contribute(round, i * directions, Buffer.alloc(directions, 0x7f));
}

function repeatLate(scene: Scene, round: number): void {
  for (let i = 0; i < FLOOD; i++) scene.member.contribute(Math.max(0, round - 1 - (i % 3)), 0, loud(scene));
}

function forgeDigest({ member }: Scene, round: number): void {
  if (round % DIGEST_EVERY === 0)
    member.send({ $case: 'digest', value: { round, sha256: Buffer.alloc(DIGEST_BYTES, 66) } });
}

function forgeRecords({ member }: Scene, round: number): void {
  const entry = { staleness: 0, worker: 0, firstDirection: 0, gradientBytes: Buffer.of(1) };
  for (let i = 0; i < 3; i++) {
    const record = { ...recordOf(round + i, 0, [entry]), proof: Buffer.alloc(8, i) };
    member.send({ $case: 'recordGiven', value: record });
  }
}

/** Says that it is an honest worker, without its secret or with a made-up one. */
function stealNames({ peer, honest, random }: Scene): void {
  const name = honest[Math.floor(random() * honest.length)]!;
  const resumeSecret = Buffer.alloc(random() < 0.5 ? 0 : 16, 5);
  peer.join(name, { resumeSecret }).then(
    (guest) => guest.end(),
    () => {},
  );
}

function joinAndLeave({ peer, random }: Scene): void {
  peer.join(`guest-${Math.floor(random() * 1e9)}`).then(
    (guest) => {
      guest.send({ $case: 'leave', value: { reason: 'on to the next' } });
      guest.end();
    },
    () => {},
  );
}

/** How long streams that say nothing stay, ms. */
const FLOOD_MS = 5_000;

const floodStreams = ({ peer }: Scene): void => void setTimeout(peer.openStreams(FLOOD), FLOOD_MS).unref();

export const ATTACKS: readonly (readonly [name: string, Attack])[] = [
  ['fill the record', eachRound(fillRecord)],
  [
    'abstain',
    eachRound(({ member, directions }, round) => member.contribute(round, 0, Buffer.alloc(directions, 0x7f))),
  ],
  ['claim impossible counts', counting((rows) => ({ correct: rows, classified: rows, lossSum: -1e300 }))],
  ['claim false counts', counting((rows) => ({ correct: rows, classified: rows, lossSum: 0 }))],
  ['evaluate nothing', contributeLoudly],
  ['steal names', beside(eachRound(stealNames))],
  ['say that the trainer is wrong', beside(eachRound(forgeDigest))],
  ['forge records', beside(eachRound(forgeRecords))],
  ['repeat itself late', beside(eachRound(repeatLate))],
  ['be silent', () => {}],
  [
    'answer now and then',
    (scene, message) => ((openedBy(message) ?? 1) % 7 === 0 ? contributeLoudly(scene, message) : undefined),
  ],
  ['join and leave', beside(eachRound(joinAndLeave))],
  ['flood with streams', beside(once(floodStreams))],
];
