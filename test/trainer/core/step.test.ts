/** The trainer's core, sentence by sentence of ARCHITECTURE's "What happens in a round" and its decisions. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { absorb, initialNormaliser } from '../../../kernels/learning-rule.ts';
import { type Hello, type LogFrame, Notice_Kind, type Record, Welcome_CatchUp } from '../../../proto/gen/onebyte.ts';
import { MAX_DIRECTION_INDEX } from '../../../proto/limits.ts';
import { entriesOf, recordOf } from '../../../proto/record.ts';
import { resumeSecretOf, withProof } from '../../../proto/record-proof.ts';
import { TrainerSettings } from '../../../settings/trainer-settings.ts';
import { startEvaluation } from '../../../trainer/core/evaluation.ts';
import { restoreTrainer } from '../../../trainer/core/restore.ts';
import type { Effect, Event, Origin, Report, TrainerRules, TrainerState } from '../../../trainer/core/state.ts';
import { step } from '../../../trainer/core/step.ts';
import { virtualRule } from '../../simulation/virtual-replica.ts';

const rulesOf = (settings: object = {}, maxStaleness = 0, more: Partial<TrainerRules> = {}): TrainerRules => ({
  settings: TrainerSettings.parse({
    evaluateEvery: 0,
    checkpointEvery: 0,
    leaseMs: 1_000,
    heartbeatMs: 900,
    ...settings,
  }),
  learning: virtualRule(1, maxStaleness),
  directions: 1,
  gradientsPerRecord: 8_192,
  rounds: 50,
  devRows: 0,
  runConfigSha256: Buffer.alloc(32),
  runSecret: Buffer.alloc(32, 3),
  adapterElements: 16,
  continuesAdapter: false,
  ...more,
});

const trainer = (settings: object = {}, maxStaleness = 0, more: Partial<TrainerRules> = {}): TrainerState =>
  restoreTrainer(rulesOf(settings, maxStaleness, more), [], undefined, 0);

/** Each stream is of a connection and a machine of its own. */
const originOf = (stream: number): Origin => ({ connection: `${stream}`, address: `${stream}` });
const digest = (round: number, byte = 0): { round: number; sha256: Buffer } => ({
  round,
  sha256: Buffer.alloc(32, byte),
});

/** Says hello as `name` on `stream`. */
function greet(
  state: TrainerState,
  name: string,
  stream: number,
  atMs = 0,
  more: Partial<Hello> = {},
  origin = originOf(stream),
): Effect[] {
  const hello = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: Buffer.alloc(32), ...more };
  return step(state, { kind: 'hello', atMs, stream, origin, hello });
}

/** Joins `name` on `stream` and says where its replica stands. */
const join = (state: TrainerState, name: string, stream: number, atMs = 0, more: Partial<Hello> = {}): Effect[] => [
  ...greet(state, name, stream, atMs, more),
  ...step(state, { kind: 'digest', atMs, stream, digest: digest(state.normaliser.round) }),
];

/** Joins `names` on the streams 0, 1, … */
const joinAll = (state: TrainerState, ...names: readonly string[]): void =>
  names.forEach((name, stream) => void join(state, name, stream));

const bytesOf = (
  gradientBytes: Buffer,
  stream: number,
  measuredRound: number,
  atMs = 1,
  firstDirection = 0,
): Event => ({
  kind: 'contribution',
  atMs,
  stream,
  contribution: { measuredRound, firstDirection, gradientBytes },
});
const contribution = (stream: number, measuredRound: number, atMs = 1, firstDirection = 0): Event =>
  bytesOf(Buffer.of(0x40), stream, measuredRound, atMs, firstDirection);
const abstention = (stream: number, measuredRound: number): Event => bytesOf(Buffer.of(0x7f), stream, measuredRound);
/** A contribution of `size` directions. */
const wide = (stream: number, size: number, firstDirection = 0, measuredRound = 0): Event =>
  bytesOf(Buffer.alloc(size, 0x40), stream, measuredRound, 1, firstDirection);

/** The secret in the welcome. */
const secretOf = (effects: readonly Effect[]): Buffer =>
  effects.flatMap((effect) =>
    effect.kind === 'send' && effect.message.message?.$case === 'welcome'
      ? [effect.message.message.value.resumeSecret]
      : [],
  )[0]!;
const numbersOf = ({ members }: TrainerState): { [name: string]: number } =>
  Object.fromEntries([...members.values()].map(({ name, worker }) => [name, worker]));
const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);
const recordsOf = (effects: readonly Effect[]): Record[] =>
  effects
    .flatMap((effect) => (effect.kind === 'append' ? effect.frames : []))
    .flatMap(({ frame }) => (frame?.$case === 'record' ? [frame.value] : []));
const framesOf = (effects: readonly Effect[]): (string | undefined)[] =>
  effects.flatMap((effect) => (effect.kind === 'append' ? effect.frames.map(({ frame }) => frame?.$case) : []));
const refusals = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === 'refuse' ? [effect.refusal] : []));
const notices = (effects: readonly Effect[]): Notice_Kind[] =>
  effects.flatMap((effect) =>
    'message' in effect && effect.message.message?.$case === 'notice' ? [effect.message.message.value.kind] : [],
  );

const reportsOf = <Kind extends Report['kind']>(effects: readonly Effect[], kind: Kind) =>
  effects.flatMap((effect) =>
    effect.kind === 'report' && effect.report.kind === kind ? [effect.report as Extract<Report, { kind: Kind }>] : [],
  );
const exitCodes = (effects: readonly Effect[]): number[] =>
  effects.flatMap((effect) => (effect.kind === 'finish' ? [effect.exitCode] : []));

/** Three workers with a record, and a trainer whose replica after it is another one than theirs. */
function doubting(): TrainerState {
  const state = trainer({ startWorkers: 3, quorum: 'all' });
  joinAll(state, 'a', 'b', 'c');
  for (const stream of [0, 1, 2]) step(state, contribution(stream, 0));
  step(state, { kind: 'ownDigest', round: 1, sha256: Buffer.alloc(32, 9) });
  return state;
}
const deviations = (state: TrainerState): Effect[] =>
  [0, 1].flatMap((stream) => step(state, { kind: 'digest', atMs: 1, stream, digest: digest(1, 1) }));
const replayed = ({ normaliser }: TrainerState, byte: number): Event => ({
  kind: 'logReplayed',
  atMs: 2,
  round: 1,
  sha256: Buffer.alloc(32, byte),
  normaliser,
});

describe('the trainer', () => {
  it('closes the round when every member answered: append, then broadcast, apply', () => {
    const state = trainer({ quorum: 'all' });
    join(state, 'a', 1);
    join(state, 'b', 2);
    for (const stream of [1, 2]) step(state, contribution(stream, 0));
    assert.deepEqual(kinds(step(state, contribution(1, 1))), []);
    assert.deepEqual(kinds(step(state, contribution(2, 1))), ['append', 'broadcast', 'apply', 'report']);
    assert.equal(state.normaliser.round, 2);
  });

  it('closes the round with a quorum once the deadline has passed', () => {
    const state = trainer({ startWorkers: 2, deadlineCeilingMs: 500 });
    join(state, 'a', 1);
    join(state, 'b', 2);
    step(state, contribution(1, 0));
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 499 })), []);
    assert.equal(recordsOf(step(state, { kind: 'tick', atMs: 501 })).length, 1);
  });

  it('does not wait for a member that never answers in the place of one that answers late', () => {
    const lease = { leaseMs: 100_000, heartbeatMs: 90_000 };
    const deadline = { deadlineFloorMs: 10, deadlineCeilingMs: 10 };
    const state = trainer({ startWorkers: 3, quorum: 0.3, ...lease, ...deadline }, 1);
    joinAll(state, 'late', 'b', 'silent');
    for (let round = 0; round < 6; round++) {
      step(state, contribution(1, round, 20 * round + 1));
      step(state, { kind: 'tick', atMs: 20 * (round + 1) });
    }
    assert.deepEqual([state.members.get(0)!.credit, state.members.get(2)!.credit], [-64, -64]);
    const effects = [contribution(0, 5, 121), contribution(1, 6, 122)].flatMap((event) => step(state, event));
    assert.deepEqual(recordsOf(effects)[0]?.workers, [0, 1]);
  });

  const PATIENT = {
    startWorkers: 4,
    leaseMs: 100_000,
    heartbeatMs: 90_000,
    deadlineFloorMs: 90,
    deadlineCeilingMs: 90,
  };
  const honest = [0, 1, 2, 3];
  /** Four that answer at once, a round each 100 ms, and one that does what `stranger` says. @returns rounds that waited in vain */
  const roundsInVain = (
    rounds: number,
    stranger: (state: TrainerState, round: number, atMs: number) => void,
  ): number => {
    // In time for a round that opened as the one before closed.
    const state = trainer({ ...PATIENT, deadlineFloorMs: 100, deadlineCeilingMs: 100 }, 0, { rounds: 1_000 });
    for (const stream of honest) join(state, `w${stream}`, stream);
    let inVain = 0;
    for (let round = 0; round < rounds; round++) {
      const atMs = 100 * round;
      stranger(state, round, atMs);
      const records = honest.flatMap((stream) => recordsOf(step(state, contribution(stream, round, atMs + 1))));
      if (records.length === 0) inVain += recordsOf(step(state, { kind: 'tick', atMs: atMs + 95 })).length;
    }
    assert.equal(state.normaliser.round, rounds);
    return inVain;
  };

  it('waits in vain for silent newcomers in three rounds and one of 33, however many names they take', () => {
    const inVain = roundsInVain(200, (state, round, atMs) => {
      if (round === 0) return;
      step(state, { kind: 'leave', atMs, stream: 10 + round - 2, reason: '' });
      join(state, `n${round}`, 10 + round, atMs);
    });
    assert(inVain <= 3 + 200 / 33, `${inVain} rounds`);
    assert(inVain > 3, 'what newcomers spent is earned again');
  });

  it('waits in vain for no more of them where they come late', () => {
    const inVain = roundsInVain(200, (state, round, atMs) => {
      if (round < 167) return;
      step(state, { kind: 'leave', atMs, stream: 10 + round - 2, reason: '' });
      join(state, `n${round}`, 10 + round, atMs);
    });
    assert(inVain <= 3 + 33 / 33, `${inVain} rounds`);
  });

  it('waits in three rounds, however long it was there, for a member that falls silent, and in one for who came since and answered 40', () => {
    const inVain = [0, 1].map((first) =>
      roundsInVain(200, (state, round, atMs) => {
        if (round === first) join(state, 'old', 9, atMs);
        if (round >= first && round <= first + (first === 0 ? 150 : 40)) step(state, contribution(9, round, atMs));
        else step(state, { kind: 'heartbeat', atMs, stream: 9, heartbeat: {} });
      }),
    );
    assert.deepEqual(inVain, [3, 1]);
  });

  it('leaves out no more than a third of its members', () => {
    const state = trainer({ ...PATIENT, startWorkers: 5 });
    for (const stream of [...honest, 4]) join(state, `w${stream}`, stream);
    let atMs = 0;
    for (let round = 0; round < 8; round++) {
      atMs = 100 * round;
      const early = [0, 1, 2].flatMap((stream) => recordsOf(step(state, contribution(stream, round, atMs + 1))));
      assert.equal(early.length, 0, `round ${round}: of two that are silent one is waited for`);
      assert.equal(recordsOf(step(state, { kind: 'tick', atMs: atMs + 95 })).length, 1);
    }
  });

  it('counts a part of a member in a quorum as one', () => {
    const state = trainer({ startWorkers: 4, quorum: 0.3, deadlineCeilingMs: 500 });
    joinAll(state, 'a', 'b', 'c', 'd');
    step(state, contribution(0, 0));
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 501 })), []);
    step(state, contribution(1, 0, 502));
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 503 }))[0]?.workers, [0, 1]);
  });

  it('closes no round with those who came since before the deadline of those who were there', () => {
    const state = trainer({ deadlineCeilingMs: 500 });
    join(state, 'a', 0);
    assert.equal(recordsOf(step(state, contribution(0, 0))).length, 1);
    for (const stream of [1, 2]) join(state, `new-${stream}`, stream, 2);
    assert.deepEqual(
      [1, 2].flatMap((stream) => recordsOf(step(state, contribution(stream, 1, 3)))),
      [],
    );
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 502 }))[0]?.workers, [1, 2]);
  });

  it('makes no record without a member, also where all are to answer', () => {
    const state = trainer({ quorum: 'all' });
    join(state, 'a', 0);
    assert.equal(recordsOf(step(state, contribution(0, 0))).length, 1);
    step(state, { kind: 'leave', atMs: 2, stream: 0, reason: '' });
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 100_000 })), []);
  });

  it('waits as rarely for one that answers once under each name', () => {
    const inVain = roundsInVain(200, (state, round, atMs) => {
      if (round % 3 > 0) return;
      step(state, { kind: 'leave', atMs, stream: 10 + round - 3, reason: '' });
      join(state, `n${round}`, 10 + round, atMs);
      step(state, contribution(10 + round, round, atMs));
    });
    assert(inVain <= 3 + 200 / 33, `${inVain} rounds`);
  });

  it('waits as rarely for one that comes back under the name that it contributed under', () => {
    let resumeSecret: Buffer = Buffer.alloc(0);
    const inVain = roundsInVain(200, (state, round, atMs) => {
      if (round % 10 > 0) return;
      step(state, { kind: 'leave', atMs, stream: 10 + round - 10, reason: '' });
      resumeSecret = secretOf(join(state, 'n', 10 + round, atMs, { resumeSecret }));
      step(state, contribution(10 + round, round, atMs));
    });
    assert(inVain <= 3 + 200 / 33, `${inVain} rounds`);
  });

  it('waits for a newcomer again as soon as it has answered, though its first round waited in vain', () => {
    const state = trainer(PATIENT);
    for (const stream of honest) join(state, `w${stream}`, stream);
    const answers = (round: number, atMs: number): number =>
      honest.flatMap((stream) => recordsOf(step(state, contribution(stream, round, atMs)))).length;
    assert.equal(answers(0, 1), 1);
    join(state, 'new', 9, 2);
    assert.deepEqual([answers(1, 3), answers(2, 4)], [1, 0]);
    assert.equal(recordsOf(step(state, { kind: 'tick', atMs: 100 })).length, 1);
    // It still makes its first graph.
    assert.equal(answers(3, 101), 1);
    step(state, contribution(9, 4, 102));
    assert.deepEqual([answers(4, 103), answers(5, 104)], [1, 0]);
    assert.deepEqual(recordsOf(step(state, contribution(9, 5, 105)))[0]?.workers, [0, 1, 2, 3, 4]);
  });

  it('waits without a quorum and says so every 10 s', () => {
    const state = trainer({ leaseMs: 100_000, heartbeatMs: 90_000 });
    const reports = [9_999, 10_001, 15_000, 20_002].map((atMs) => step(state, { kind: 'tick', atMs }).length);
    assert.deepEqual(reports, [0, 1, 0, 1]);
    join(state, 'a', 1, 21_000);
    assert.equal(recordsOf(step(state, contribution(1, 0, 29_000))).length, 1);
    const inRound = [30_003, 39_001].map((atMs) => step(state, { kind: 'tick', atMs }).length);
    assert.deepEqual(inRound, [0, 1], 'of a round that has been open for so long');
  });

  it('shares the gradients of a record out among its members, and waits for a quorum however full it is', () => {
    const state = trainer({ startWorkers: 3, deadlineCeilingMs: 500 }, 1, { directions: 8, gradientsPerRecord: 12 });
    joinAll(state, 'greedy', 'b', 'c');
    const effects = [0, 8, 16].map((firstDirection) => step(state, wide(0, 8, firstDirection)));
    assert.deepEqual(effects.flatMap(recordsOf), []);
    assert.deepEqual(effects.map(notices), [[], [Notice_Kind.LATE], [Notice_Kind.LATE]]);
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 10_000 })), []);
    const [record] = [wide(1, 8), wide(2, 3)].flatMap((event) => recordsOf(step(state, event)));
    assert.deepEqual(record?.directions, [4, 4, 3]);
  });

  it('leaves a newcomer what the shares of those before it leave, and takes its answer though there is no room', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 0, { directions: 8, gradientsPerRecord: 9 });
    joinAll(state, 'a', 'b');
    for (const stream of [0, 1]) step(state, wide(stream, 8));
    assert.equal(state.normaliser.round, 1);
    join(state, 'new', 2);
    const contributionOf = (stream: number): Effect[] => step(state, wide(stream, 8, 0, 1));
    const [record] = [2, 0, 1].map((stream) => contributionOf(stream)).flatMap(recordsOf);
    assert.deepEqual(
      entriesOf(record!).map(({ gradientBytes }) => gradientBytes.length),
      [3, 3, 3],
    );
  });

  it('takes contributions of any size up to the ceiling, one a round', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 0, { directions: 8 });
    joinAll(state, 'a', 'b');
    for (const more of [wide(0, 5, 3), wide(0, 8, 8), wide(0, 1, 100)]) step(state, more);
    assert.deepEqual(
      state.pending.map(({ firstDirection, gradientBytes }) => [firstDirection, gradientBytes.length]),
      [[3, 5]],
    );
    const last = MAX_DIRECTION_INDEX;
    const wrong = [wide(1, 9), wide(1, 0), wide(1, 1, last), contribution(1, 1), bytesOf(Buffer.of(0xff), 1, 0)];
    for (const event of wrong) assert.deepEqual(refusals(step(state, event)), ['invalid']);
    assert.deepEqual(recordsOf(step(state, wide(1, 1, last - 1)))[0]?.firstDirections, [3, last - 1]);
  });

  it('takes contributions where there are more members than gradients that a record may hold', () => {
    const state = trainer({ startWorkers: 4, quorum: 'all' }, 0, { directions: 8, gradientsPerRecord: 3 });
    joinAll(state, 'a', 'b', 'c', 'd');
    const [record] = [0, 1, 2, 3].flatMap((stream) => recordsOf(step(state, wide(stream, 8))));
    assert.deepEqual([record?.workers, record?.gradientBytes.length], [[0, 1, 2], 3]);
  });

  it('takes the contributions of those who came since where all others have left', () => {
    const state = trainer();
    join(state, 'a', 0);
    step(state, contribution(0, 0));
    step(state, { kind: 'leave', atMs: 1, stream: 0, reason: '' });
    join(state, 'b', 1);
    assert.deepEqual(recordsOf(step(state, contribution(1, 1)))[0]?.workers, [1]);
  });

  it('takes none of a worker that has not said where its replica stands, and none after the last record', () => {
    const state = trainer({}, 0, { rounds: 1, devRows: 4 });
    greet(state, 'a', 0);
    assert.deepEqual([step(state, contribution(0, 0)), state.pending], [[], []]);
    step(state, { kind: 'digest', atMs: 0, stream: 0, digest: digest(0) });
    assert.equal(recordsOf(step(state, contribution(0, 0))).length, 1);
    join(state, 'b', 1);
    assert.deepEqual([state.phase, step(state, contribution(1, 1))], ['finalEvaluation', []]);
  });

  it('takes no direction twice, however contributions of one round overlap', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 1, { directions: 8 });
    joinAll(state, 'a', 'b');
    for (const [size, first] of [
      [4, 0],
      [8, 3],
      [2, 4],
      [1, 2],
    ] as const)
      step(state, wide(0, size, first));
    assert.deepEqual(
      state.pending.map(({ firstDirection, gradientBytes }) => [firstDirection, gradientBytes.length]),
      [
        [0, 4],
        [4, 2],
      ],
    );
  });

  it('takes one arrival time of a round from a member, and no more contributions than may be of it', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 1);
    joinAll(state, 'a', 'b');
    for (let i = 0; i < 70; i++) step(state, contribution(0, 0, 1_000 + i, i));
    assert.equal(state.pending.length, 64);
    assert.deepEqual(state.members.get(0)?.arrivals, [1_000]);
  });

  it('answers a late contribution and does not count it', () => {
    const state = trainer();
    join(state, 'a', 1);
    step(state, contribution(1, 0));
    step(state, contribution(1, 1));
    join(state, 'b', 2);
    const effects = step(state, contribution(2, 0));
    assert.deepEqual(notices(effects), [Notice_Kind.LATE]);
    assert.equal(state.pending.length, 0);
  });

  it('tells what a round held, who answered when, and whom it waited for in vain', () => {
    const learning = { ...virtualRule(1, 1), decayRounds: 16 };
    const state = trainer({ startWorkers: 3, deadlineCeilingMs: 500 }, 1, { directions: 4, learning });
    joinAll(state, 'a', 'b', 'silent');
    step(state, bytesOf(Buffer.of(0x40, 0xc0, 0x7f), 0, 0, 100));
    step(state, bytesOf(Buffer.of(0x7f), 0, 0, 150, 3));
    step(state, bytesOf(Buffer.of(0x38), 1, 0, 200));
    const [round] = reportsOf(step(state, { kind: 'tick', atMs: 500 }), 'round');
    const { detail, ...rest } = round!;
    const counted = { contributions: 3, gradients: 3, clipped: 0, members: 3, trainingLoss: undefined };
    assert.deepEqual(rest, { kind: 'round', round: 1, ...counted, ms: 500, deadlineMs: 500, idleFraction: 0.7 });
    const { buckets, rms, ...more } = detail;
    assert.deepEqual(
      [...buckets.entries()].filter(([, bytes]) => bytes > 0),
      [
        [7, 1],
        [8, 1],
        [24, 1],
        [32, 2],
      ],
    );
    assert(Math.abs(rms - Math.sqrt(3)) < 1e-12, `${rms}`);
    assert.deepEqual(more, {
      exponent: 0,
      learningRate: learning.learningRate,
      payloadBytes: 5,
      shares: new Map([
        [0, { contributions: 2, gradients: 2, clipped: 0 }],
        [1, { contributions: 1, gradients: 1, clipped: 0 }],
      ]),
      answeredMs: new Map([
        [0, 100],
        [1, 200],
      ]),
      missing: [2],
    });
    assert.equal(state.gradients, 3);
  });

  it('counts how soon a member answers from when it could', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 1);
    for (const [name, stream, atMs] of [
      ['a', 0, 0],
      ['b', 1, 400],
      ['c', 2, 410],
    ] as const)
      join(state, name, stream, atMs);
    for (const stream of [0, 1]) step(state, contribution(stream, 0, 430));
    const [round] = reportsOf(step(state, contribution(2, 0, 430)), 'round');
    assert.deepEqual(
      [...state.members.values()].map(({ arrivals }) => arrivals),
      [[430], [30], [20]],
    );
    assert.equal(round?.ms, 30, 'from when there were enough to begin');
  });

  it('settles the deadline of a round as it opens, once it is known how soon members answer', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all', deadlineFloorMs: 10 });
    joinAll(state, 'a', 'b');
    const deadlines = [20, 30, 90].map((ms, round) => {
      step(state, contribution(0, round, 100 * round + ms));
      const before = state.deadlineMs;
      step(state, contribution(1, round, 100 * round + 99));
      step(state, { kind: 'tick', atMs: 100 * (round + 1) });
      return before;
    });
    assert.deepEqual(deadlines, [60_000, 60_000, 20]);
  });

  it('keeps the deadline of a round between its floor and its ceiling', () => {
    const deadlines = [20, 900].map((ms) => {
      const state = trainer({ startWorkers: 2, quorum: 'all', deadlineFloorMs: 100, deadlineCeilingMs: 300 });
      joinAll(state, 'a', 'b');
      for (let round = 0; round < 3; round++)
        for (const stream of [0, 1]) step(state, contribution(stream, round, ms * (round + 1)));
      return state.deadlineMs;
    });
    assert.deepEqual(deadlines, [100, 300]);
  });

  it('says how many bytes of a worker were cut', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' });
    joinAll(state, 'honest', 'loud');
    const rounds = Array.from({ length: 10 }, (_, round) =>
      [0x40, 0x7e].flatMap((byte, stream) =>
        step(state, {
          kind: 'contribution',
          atMs: 1,
          stream,
          contribution: { measuredRound: round, firstDirection: 0, gradientBytes: Buffer.of(byte) },
        }),
      ),
    );
    const details = rounds.flatMap((effects) =>
      effects.flatMap((effect) =>
        effect.kind === 'report' && effect.report.kind === 'round' ? [effect.report.detail] : [],
      ),
    );
    const clipped = (worker: number): number =>
      details.reduce((sum, { shares }) => sum + shares.get(worker)!.clipped, 0);
    assert.deepEqual([details.length, clipped(0), clipped(1)], [10, 0, 10]);
  });

  it('takes each (measured round, worker, direction) once', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' });
    join(state, 'a', 1);
    join(state, 'b', 2);
    step(state, contribution(1, 0));
    step(state, contribution(1, 0));
    assert.equal(state.pending.length, 1);
  });

  it('takes further directions of a round that is not too old', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 1);
    join(state, 'a', 1);
    join(state, 'b', 2);
    step(state, contribution(1, 0));
    step(state, contribution(2, 0));
    step(state, contribution(1, 0, 2, 1));
    assert.deepEqual(
      state.pending.map(({ staleness, firstDirection }) => [staleness, firstDirection]),
      [[1, 1]],
    );
  });

  it('takes none again of a member that left and is back', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' }, 1);
    const resumeSecret = secretOf(join(state, 'a', 0));
    join(state, 'b', 1);
    for (const stream of [0, 1]) step(state, contribution(stream, 0));
    step(state, { kind: 'leave', atMs: 1, stream: 0, reason: '' });
    join(state, 'a', 2, 1, { resumeSecret });
    step(state, contribution(2, 0));
    assert.deepEqual(state.pending, []);
  });

  it('sorts a record by measured round, then worker, then direction, in whatever order they came', () => {
    const state = trainer({ startWorkers: 3, quorum: 'all' }, 1);
    joinAll(state, 'a', 'b', 'c');
    for (const stream of [0, 1, 2]) step(state, contribution(stream, 0));
    const came = [contribution(1, 1), contribution(1, 1, 1, 1), contribution(2, 0, 1, 1), contribution(2, 1)];
    const [record] = [...came, contribution(0, 1)].flatMap((event) => recordsOf(step(state, event)));
    assert.deepEqual(
      entriesOf(record!).map(({ staleness, worker, firstDirection }) => [staleness, worker, firstDirection]),
      [
        [1, 2, 1],
        [0, 0, 0],
        [0, 1, 0],
        [0, 1, 1],
        [0, 2, 0],
      ],
    );
  });

  it('ends membership with the lease, not with the stream, and tells a stream that is still open', () => {
    const state = trainer();
    join(state, 'a', 1);
    join(state, 'b', 2);
    step(state, { kind: 'closed', atMs: 10, stream: 1 });
    assert.equal(state.members.size, 2);
    step(state, { kind: 'tick', atMs: 550 });
    const effects = step(state, { kind: 'tick', atMs: 1_100 });
    assert.equal(state.members.size, 0);
    assert.deepEqual(refusals(effects), ['silent']);
  });

  it('does not expel those it could not hear while it stood still itself', () => {
    const state = trainer({ heartbeatMs: 100 });
    join(state, 'a', 1);
    step(state, { kind: 'tick', atMs: 50 });
    step(state, { kind: 'tick', atMs: 60_000 });
    assert.equal(state.members.size, 1);
  });

  it('gives a name its number again for the secret of its welcome, and tells the old stream that it was replaced', () => {
    const state = trainer();
    const resumeSecret = secretOf(join(state, 'a', 1));
    assert.deepEqual(refusals(greet(state, 'a', 2, 1, { resumeSecret })), ['replaced']);
    assert.deepEqual([...state.members.keys()], [0]);
    assert.deepEqual(step(state, { kind: 'closed', atMs: 2, stream: 1 }), [], 'the old stream is nobody');
    assert.deepEqual(step(state, contribution(2, 0, 2)), [], 'it has not said where its replica stands now');
    step(state, { kind: 'digest', atMs: 3, stream: 2, digest: digest(0) });
    assert.equal(recordsOf(step(state, contribution(2, 0, 3))).length, 1);
  });

  it('writes down that one who left is a member again, and does not write down one who had not left', () => {
    const state = trainer();
    const resumeSecret = secretOf(join(state, 'a', 1));
    assert.deepEqual(framesOf(step(state, contribution(1, 0))), ['joined', 'record']);
    join(state, 'a', 2, 1, { resumeSecret });
    assert.deepEqual(framesOf(step(state, contribution(2, 2))), []);
    assert.deepEqual(framesOf(step(state, contribution(2, 1))), ['record']);
    step(state, { kind: 'leave', atMs: 1, stream: 2, reason: '' });
    join(state, 'a', 3, 1, { resumeSecret });
    assert.deepEqual(framesOf(step(state, contribution(3, 2))), ['joined', 'record']);
  });

  it('gives a name to nobody without its secret while the lease runs, and to anybody afterwards, with a new secret', () => {
    const state = trainer();
    const first = secretOf(join(state, 'a', 1));
    step(state, contribution(1, 0));
    step(state, { kind: 'closed', atMs: 10, stream: 1 });
    const ask = (stream: number, resumeSecret: Buffer): Effect[] => greet(state, 'a', stream, 20, { resumeSecret });
    const wrong = [Buffer.alloc(0), Buffer.alloc(16, 9)];
    assert.deepEqual(
      wrong.map((secret, i) => refusals(ask(2 + i, secret))),
      [['taken'], ['taken']],
    );
    for (const atMs of [600, 1_200]) step(state, { kind: 'tick', atMs });
    const second = secretOf(ask(4, Buffer.alloc(0)));
    assert.equal(state.members.get(0)?.name, 'a');
    assert.notDeepEqual(second, first);
    // Nobody contributed under it since: its last worker gets it back.
    assert.deepEqual(refusals(ask(5, first)), ['replaced']);
    assert.deepEqual(refusals(ask(6, second)), ['taken']);
  });

  it('keeps the names of those who were members for them after a restart, until they had the time to come back', () => {
    const frames: LogFrame[] = [{ frame: { $case: 'joined', value: { worker: 3, name: 'a', membership: 7 } } }];
    const state = restoreTrainer(rulesOf(), frames, undefined, 0);
    const ask = (stream: number, resumeSecret: Buffer): string[] =>
      refusals(greet(state, 'a', stream, 1, { resumeSecret }));
    const secret = resumeSecretOf(state.rules.runSecret, 3, 'a', 7);
    assert.deepEqual([ask(1, Buffer.alloc(0)), ask(2, secret)], [['taken'], []]);
    assert.equal(state.members.get(3)?.stream, 2);
    const left: LogFrame = { frame: { $case: 'left', value: { worker: 3, reason: '' } } };
    const later = restoreTrainer(rulesOf(), [...frames, left], undefined, 0);
    assert.deepEqual([[...later.former.names], refusals(greet(later, 'a', 1))], [[], []], 'not of one that had left');
  });

  it('gives no secret twice, whatever its log says that it opened before', () => {
    const epoch: LogFrame = { frame: { $case: 'epoch', value: { epoch: 2 } } };
    const secrets = [[], [epoch]].map((frames) =>
      secretOf(join(restoreTrainer(rulesOf(), frames, undefined, 0), 'a', 1)).toString('hex'),
    );
    assert.equal(new Set(secrets).size, 2);
    assert.equal(trainer().epoch, 1, 'a hello that says no epoch is of none');
  });

  it('makes a number durable with the first contribution that counts, and gives it again where none came', () => {
    const state = trainer();
    assert.deepEqual(framesOf(join(state, 'idle', 1)), []);
    assert.deepEqual(framesOf(step(state, { kind: 'leave', atMs: 1, stream: 1, reason: '' })), []);
    join(state, 'busy', 2);
    assert.deepEqual([...state.members.keys()], [0]);
    assert.deepEqual(framesOf(step(state, contribution(1, 0))), [], 'the stream of idle speaks for nobody');
    assert.deepEqual(framesOf(step(state, contribution(2, 0))), ['joined', 'record']);
    assert.deepEqual(framesOf(step(state, { kind: 'leave', atMs: 1, stream: 2, reason: '' })), ['left']);
    join(state, 'next', 3);
    assert.deepEqual([...state.members.keys()], [1]);
  });

  it('takes few new names a second over one connection, however soon they leave', () => {
    const state = trainer({ leaseMs: 80_000_000, heartbeatMs: 70_000_000 });
    const origin = originOf(0);
    const come = (stream: number, atMs: number): string[] => {
      const refused = refusals(greet(state, `n${stream}`, stream, atMs, {}, origin));
      step(state, { kind: 'leave', atMs, stream, reason: '' });
      return refused;
    };
    const taken = Array.from({ length: 3_000 }, (_, stream) => come(stream, 0)).filter(({ length }) => length === 0);
    assert.deepEqual([taken.length, come(3_000, 0), come(3_001, 1_000)], [1_024, ['busy'], []]);
  });

  it('takes twice as many over all connections of one address', () => {
    const state = trainer();
    const come = (stream: number): string[] =>
      refusals(greet(state, `n${stream}`, stream, 0, {}, { connection: `${stream % 4}`, address: 'one' }));
    const taken = Array.from({ length: 3_000 }, (_, stream) => come(stream)).filter(({ length }) => length === 0);
    assert.equal(taken.length, 2_048);
  });

  it('takes few hellos a second of one name, with its secret or a lease later, whatever it asks for', () => {
    const state = trainer({}, 0, { adapterElements: 10_000_000 });
    const resumeSecret = secretOf(join(state, 'a', 0));
    for (let round = 0; round < 9; round++) step(state, contribution(0, round));
    const resume = (stream: number, atMs: number): Effect[] =>
      greet(state, 'a', stream, atMs, { resumeSecret, epoch: state.epoch, replica: digest(0) });
    const effects = Array.from({ length: 100 }, (_, i) => resume(1 + i, 1)).flat();
    const records = effects.filter((effect) => effect.kind === 'send' && effect.message.message?.$case === 'record');
    assert.deepEqual([records.length, reportsOf(effects, 'joined').length], [8 * 9, 8]);
    assert.deepEqual(refusals(effects).filter((refusal) => refusal === 'busy').length, 92);
    assert.equal(state.members.get(0)?.stream, 8, 'the last that was welcomed stays');
    assert.deepEqual([refusals(resume(200, 1_001)), refusals(resume(201, 1_001))], [['replaced'], ['busy']]);
    // Who left and comes back with its secret is not kept out by who uses its name meanwhile, and has no more hellos.
    const back = Array.from({ length: 100 }, (_, i) => {
      step(state, { kind: 'leave', atMs: 1_001, stream: state.members.get(0)?.stream ?? -1, reason: '' });
      return resume(300 + i, 1_001);
    }).flat();
    assert.equal(reportsOf(back, 'joined').length, 8);
    assert.deepEqual(refusals(resume(500, 2_001)), []);
  });

  it('gives those who ask for none a number above all others, and the smallest that are free after the last', () => {
    const state = trainer();
    const ask = (name: string, stream: number, requestedWorker?: number): string[] =>
      refusals(greet(state, name, stream, 0, { requestedWorker }));
    assert.deepEqual([ask('second', 1, 1), ask('any', 2), ask('first', 3, 0)], [[], [], []]);
    assert.deepEqual([ask('greedy', 4, 65_535), ask('a', 5), ask('b', 6, 4), ask('c', 7)], [[], [], [], []]);
    const expected = { second: 1, any: 2, first: 0, greedy: 65_535, a: 3, b: 4, c: 5 };
    assert.deepEqual(numbersOf(state), expected);
  });

  it('refuses a number beyond the last with the range', () => {
    const effects = join(trainer(), 'a', 1, 0, { requestedWorker: 65_536 });
    assert.deepEqual(
      effects.map((effect) => effect.kind === 'refuse' && [effect.refusal, effect.text]),
      [['invalid', 'worker a asks for number 65536, expected 0…65535']],
    );
  });

  it('gives a worker that asks for the number of another the next one, whether that has contributed and left, or not', () => {
    const state = trainer();
    join(state, 'named', 1, 0, { requestedWorker: 1 });
    join(state, 'guest', 2, 0, { requestedWorker: 2 });
    step(state, contribution(1, 0));
    step(state, { kind: 'leave', atMs: 1, stream: 1, reason: '' });
    for (const [stream, requestedWorker] of [1, 2].entries())
      join(state, `late-${requestedWorker}`, 3 + stream, 1, { requestedWorker });
    assert.deepEqual(numbersOf(state), { guest: 2, 'late-1': 3, 'late-2': 4 });
  });

  it('gives nobody a number that a record counts, though the log lost who had it', () => {
    const record = recordOf(0, 0, [{ staleness: 0, worker: 1, firstDirection: 0, gradientBytes: Buffer.from([0x40]) }]);
    const joined = { worker: 0, name: 'a', membership: 0 };
    const frames: LogFrame[] = [
      { frame: { $case: 'joined', value: joined } },
      { frame: { $case: 'record', value: record } },
    ];
    const state = restoreTrainer(rulesOf(), frames, undefined, 0);
    for (const [stream, name] of ['b', 'c'].entries()) greet(state, name, stream);
    state.recovery = undefined;
    greet(state, 'a', 9);
    assert.deepEqual(numbersOf(state), { a: 0, b: 2, c: 3 });
  });

  it('refuses a digest that is none, in a hello too', () => {
    const state = trainer();
    join(state, 'a', 1);
    const wrong = { round: 7, sha256: Buffer.alloc(60_000) };
    const effects = [
      step(state, { kind: 'digest', atMs: 1, stream: 1, digest: wrong }),
      greet(state, 'b', 2, 1, { replica: { ...wrong, round: 0 } }),
    ];
    assert.deepEqual(effects.map(refusals), [['invalid'], ['invalid']]);
    assert.deepEqual(effects.map(kinds), [['refuse'], ['refuse']]);
  });

  it('writes down why a worker left in a line of 200 characters at most', () => {
    const state = trainer();
    join(state, 'a', 1);
    const reason = `drained\u001b[2J\nfake log line\u202e${'x'.repeat(60_000)}`;
    step(state, contribution(1, 0));
    const effects = step(state, { kind: 'leave', atMs: 1, stream: 1, reason });
    const said = effects.flatMap((effect) => {
      if (effect.kind === 'report' && effect.report.kind === 'left') return [effect.report.reason];
      if (effect.kind !== 'append') return [];
      return effect.frames.flatMap(({ frame }) => (frame?.$case === 'left' ? [frame.value.reason] : []));
    });
    const written = `drained\ufffd[2J\ufffdfake log line\ufffd${'x'.repeat(174)}`;
    assert.deepEqual(said, [written, written]);
  });

  it('tells what a worker says of its device in a line of 64 characters at most', () => {
    const state = trainer();
    const computesOn = `cuda:1\u001b[2J${'x'.repeat(60_000)}`;
    const told = reportsOf(greet(state, 'a', 1, 1, { computesOn }), 'joined');
    assert.deepEqual(
      told.map((report) => report.computesOn),
      [`cuda:1\ufffd[2J${'x'.repeat(54)}`],
    );
  });

  it('lets joins take effect at the next round', () => {
    const state = trainer();
    join(state, 'a', 1);
    step(state, contribution(1, 0));
    join(state, 'b', 2);
    assert.equal(recordsOf(step(state, contribution(1, 1))).length, 1);
    assert.equal(recordsOf(step(state, contribution(1, 2))).length, 0);
  });

  /** How a worker catches up that says hello with `more`. */
  const catchUpOf = (state: TrainerState, stream: number, more: Partial<Hello>): Welcome_CatchUp | undefined => {
    const [welcome] = greet(state, `b${stream}`, stream, 5, more).filter((effect) => effect.kind === 'send');
    const content = welcome?.kind === 'send' ? welcome.message.message : undefined;
    return content?.$case === 'welcome' ? content.value.catchUp : undefined;
  };

  it('lets a worker that is a little behind catch up by records, and one of an older epoch by a snapshot', () => {
    const state = trainer({ leaseMs: 100_000 });
    join(state, 'a', 1);
    for (let round = 0; round < 3; round++) step(state, contribution(1, round));
    const { epoch } = state;
    const says = [{ replica: digest(2, 1), epoch }, { replica: digest(2, 1), epoch: epoch - 1 }, { epoch }];
    const catchUps = [...says, { replica: digest(3), epoch }].map((more, i) => catchUpOf(state, 10 + i, more));
    const { RECORDS, SNAPSHOT, NONE } = Welcome_CatchUp;
    assert.deepEqual(catchUps, [RECORDS, SNAPSHOT, SNAPSHOT, NONE]);
  });

  it('gives a newcomer a snapshot before the first record where the run continues an adapter', () => {
    const catchUps = [false, true].map((continuesAdapter) => catchUpOf(trainer({}, 0, { continuesAdapter }), 1, {}));
    assert.deepEqual(catchUps, [Welcome_CatchUp.NONE, Welcome_CatchUp.SNAPSHOT]);
  });

  it('has records applied where that is sooner than a snapshot, and gives no more than the last 512', () => {
    const behind = (rounds: number, directions: number, adapterElements: number): Welcome_CatchUp | undefined => {
      const state = trainer({ leaseMs: 100_000 }, 0, { rounds: 1_000, directions, adapterElements });
      join(state, 'a', 1);
      for (let round = 0; round < rounds; round++) step(state, wide(1, directions, 0, round));
      return catchUpOf(state, 2, { replica: digest(0), epoch: state.epoch });
    };
    const catchUps = [behind(4, 1, 16), behind(7, 1, 16), behind(512, 1, 10_000), behind(513, 1, 10_000)];
    const { RECORDS, SNAPSHOT } = Welcome_CatchUp;
    assert.deepEqual(catchUps, [RECORDS, SNAPSHOT, RECORDS, SNAPSHOT]);
    assert.deepEqual([behind(1, 2_000, 1e7), behind(3, 2_000, 1e7)], [RECORDS, SNAPSHOT]);
  });

  it('lets a deviant worker catch up and refuses it after the second time', () => {
    const state = trainer({ startWorkers: 3 });
    joinAll(state, 'a', 'b', 'c');
    step(state, { kind: 'ownDigest', round: 0, sha256: Buffer.alloc(32, 9) });
    const deviate = (): Effect[] => step(state, { kind: 'digest', atMs: 1, stream: 1, digest: digest(0, 1) });
    assert.deepEqual([deviate(), deviate()].map(notices), [[Notice_Kind.CATCH_UP], [Notice_Kind.CATCH_UP]]);
    assert.deepEqual(
      [step(state, contribution(1, 0)), state.pending],
      [[], []],
      'before it has caught up it says nothing',
    );
    assert.deepEqual(refusals(deviate()), ['deviant']);
  });

  it('stops with code 5 when most workers agree with each other, and its log with neither them nor itself', () => {
    const state = doubting();
    assert.deepEqual(
      deviations(state)
        .map(({ kind }) => kind)
        .includes('replayLog'),
      true,
    );
    assert.deepEqual(exitCodes(step(state, replayed(state, 5))), [5]);
  });

  it('expels those who agree with each other when its log agrees with it', () => {
    const state = doubting();
    step(state, { kind: 'digest', atMs: 1, stream: 2, digest: digest(1, 2) });
    deviations(state);
    const effects = step(state, replayed(state, 9));
    assert.deepEqual(
      [refusals(effects), exitCodes(effects), [...state.members.keys()]],
      [['deviant', 'deviant'], [], [2]],
    );
  });

  it('takes what its log gives when that is what most workers hold', () => {
    const state = doubting();
    const asked = deviations(state).filter(({ kind }) => kind === 'replayLog');
    const normaliser = { ...state.normaliser, v: 7 };
    const effects = step(state, { ...replayed(state, 1), normaliser } as Event);
    assert.deepEqual([exitCodes(effects), kinds(effects).includes('takeReplayed')], [[], true]);
    assert.deepEqual([asked.length, state.members.size, state.normaliser.v], [1, 3, 7]);
    // Those who were right are no deviants any more.
    const reports = [0, 1, 0, 1, 0, 1].flatMap((stream) =>
      reportsOf(step(state, { kind: 'digest', atMs: 3, stream, digest: digest(1, 1) }), 'digest'),
    );
    assert.deepEqual(
      reports.map(({ agrees }) => agrees),
      Array(6).fill(true),
    );
  });

  it('asks its log where more than half of the voices agree, and more than one', () => {
    const asks = [1, 2, 3, 4].map((deviants) => {
      const state = trainer({ startWorkers: deviants === 1 ? 1 : 4, quorum: 'all' });
      joinAll(state, ...['a', 'b', 'c', 'd'].slice(0, deviants === 1 ? 1 : 4));
      for (const stream of state.workerOfStream.keys()) step(state, contribution(stream, 0));
      step(state, { kind: 'ownDigest', round: 1, sha256: Buffer.alloc(32, 9) });
      const streams = Array.from({ length: deviants }, (_, stream) => stream);
      const effects = streams.flatMap((stream) =>
        step(state, { kind: 'digest', atMs: 1, stream, digest: digest(1, 1) }),
      );
      return kinds(effects).filter((kind) => kind === 'replayLog').length;
    });
    assert.deepEqual(asks, [0, 0, 1, 1]);
  });

  it('hears no voice without contributions in a record, and one for each connection', () => {
    const idle = trainer({ startWorkers: 4 });
    const crowd = trainer({ startWorkers: 3, quorum: 'all' });
    joinAll(idle, 'a', 'b', 'c', 'd');
    for (const [stream, name] of ['a', 'b', 'c'].entries()) {
      const origin = originOf(stream === 2 ? 2 : 0);
      greet(crowd, name, stream, 0, {}, origin);
      step(crowd, { kind: 'digest', atMs: 0, stream, digest: digest(0) });
    }
    for (const stream of [0, 1, 2]) step(crowd, contribution(stream, 0));
    const agreeOnAnother = (state: TrainerState, streams: readonly number[]): string[] => {
      const { round } = state.normaliser;
      step(state, { kind: 'ownDigest', round, sha256: Buffer.alloc(32, 9) });
      return streams.flatMap((stream) =>
        kinds(step(state, { kind: 'digest', atMs: 1, stream, digest: digest(round, 1) })),
      );
    };
    assert.equal(agreeOnAnother(idle, [0, 1, 2]).includes('replayLog'), false);
    assert.equal(agreeOnAnother(crowd, [0, 1]).includes('replayLog'), false);
    assert.equal(agreeOnAnother(crowd, [2]).includes('replayLog'), true);
  });

  for (const others of [['b'], ['b', 'c']])
    it(`does not stop for records without a live byte that 1 of ${1 + others.length} workers abstained in`, () => {
      const startWorkers = 1 + others.length;
      const state = trainer({ startWorkers, quorum: 0.1, deadlineFloorMs: 10, deadlineCeilingMs: 10 });
      joinAll(state, 'liar', ...others);
      const effects = Array.from({ length: 5 }, (_, round) => [
        ...step(state, bytesOf(Buffer.of(0x7f), 0, round, 100 * round)),
        ...step(state, { kind: 'tick', atMs: 100 * round + 90 }),
      ]).flat();
      assert.deepEqual([recordsOf(effects).length, exitCodes(effects)], [5, []]);
    });

  it('does not stop for records without a live byte of those who are left while most are away', () => {
    const state = trainer({ startWorkers: 3 });
    joinAll(state, 'liar', 'b', 'c');
    for (const stream of [0, 1, 2]) step(state, contribution(stream, 0));
    for (const stream of [1, 2]) step(state, { kind: 'leave', atMs: 1, stream, reason: 'killed' });
    const effects = [1, 2, 3, 4].flatMap((round) => step(state, abstention(0, round)));
    assert.deepEqual([recordsOf(effects).length, exitCodes(effects)], [4, []]);
  });

  it('stops with code 6 after three records in a row without one live byte', () => {
    const state = trainer();
    join(state, 'a', 1);
    const last = [0, 1, 2].map((round) => step(state, abstention(1, round))).at(-1)!;
    assert.deepEqual(exitCodes(last), [6]);
  });

  it('stops with code 2 where the privacy budgets of all are spent, and says what to do about those', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' });
    joinAll(state, 'a', 'b');
    const spent = { epsilon: 4, delta: 1e-5, spent: 4, exhausted: true };
    for (const stream of [0, 1]) step(state, { kind: 'heartbeat', atMs: 1, stream, heartbeat: { privacy: spent } });
    const effects = [0, 1, 2].flatMap((round) => [0, 1].flatMap((stream) => step(state, abstention(stream, round))));
    const [end] = effects.flatMap((effect) => (effect.kind === 'finish' ? [effect] : []));
    assert.equal(end?.exitCode, 2);
    assert.match(end!.text, /budgets of all workers are spent.*Raise worker\.privacy\.epsilon/);
    assert.doesNotMatch(end!.text, /learningRate/);
  });
});

describe('a heartbeat', () => {
  it('says how a privacy budget stands, and nothing where that is no number', () => {
    const state = trainer();
    join(state, 'a', 0);
    const privacy = { epsilon: 4, delta: 1e-5, spent: 1, exhausted: false };
    const beat = (said: typeof privacy | undefined): Effect[] =>
      step(state, { kind: 'heartbeat', atMs: 1, stream: 0, heartbeat: { privacy: said } });
    assert.deepEqual(beat(privacy), [{ kind: 'report', report: { kind: 'privacy', worker: 0, privacy } }]);
    assert.deepEqual(beat(undefined), []);
    for (const spent of [Number.NaN, Number.POSITIVE_INFINITY, -1]) assert.deepEqual(beat({ ...privacy, spent }), []);
  });

  it('says what minibatches lost: a round tells the mean over the members, and nothing that is no loss', () => {
    const state = trainer({ quorum: 'all' });
    joinAll(state, 'a', 'b', 'c');
    const say = (stream: number, perRow: number, perToken = perRow / 4): Effect[] =>
      step(state, { kind: 'heartbeat', atMs: 1, stream, heartbeat: { trainingLoss: { perRow, perToken } } });
    const told = () => {
      const { round } = state.normaliser;
      const streams = [...state.workerOfStream.keys()];
      const [report] = streams.flatMap((stream) => reportsOf(step(state, contribution(stream, round)), 'round'));
      assert(report, `round ${round} is open`);
      return report.trainingLoss;
    };
    assert.equal(told(), undefined);
    assert.deepEqual([say(0, 1), say(1, 3)], [[], []]);
    assert.deepEqual(told(), { perRow: 2, perToken: 0.5 });
    for (const lie of [Number.NaN, Number.POSITIVE_INFINITY, -1, 1e7]) {
      say(2, lie, 1);
      say(2, 1, lie);
    }
    assert.deepEqual(told(), { perRow: 2, perToken: 0.5 });
    step(state, { kind: 'leave', atMs: 1, stream: 1, reason: '' });
    assert.deepEqual(told(), { perRow: 1, perToken: 0.25 });
    step(state, { kind: 'closed', atMs: 1, stream: 0 });
    const { membership } = state.members.get(0)!;
    join(state, 'a', 3, 2, { resumeSecret: resumeSecretOf(state.rules.runSecret, 0, 'a', membership) });
    assert.equal(told(), undefined, 'it is back, and has said nothing yet');
  });
});

describe('an evaluation', () => {
  const counts = (
    stream: number,
    range: { firstRow: number; rows: number },
    round: number,
    lossSum = range.rows,
    atMs = 10,
  ): Event => ({
    kind: 'evaluation',
    atMs,
    stream,
    counts: { round, firstRow: range.firstRow, rows: range.rows, correct: 0, classified: 0, lossSum },
  });
  const say = (state: TrainerState, stream: number, lossOf = (rows: number) => rows, atMs = 10): Effect[] =>
    (state.evaluation?.ranges ?? []).flatMap((range) =>
      range.asks.get(stream)?.isOpen
        ? step(state, counts(stream, range, state.evaluation!.round, lossOf(range.rows), atMs))
        : [],
    );
  /** Streams that are asked for rows. */
  const asked = (effects: readonly Effect[]): number[] =>
    effects.flatMap((e) => (e.kind === 'send' && e.message.message?.$case === 'evaluate' ? [e.stream] : []));
  const tick = (state: TrainerState, atMs: number): Effect[] => step(state, { kind: 'tick', atMs });
  /** An evaluation of round 0 by four members, stream = worker. */
  const begun = (devRows: number, more: object = {}): TrainerState => {
    const state = trainer({ startWorkers: 4, leaseMs: 80_000, heartbeatMs: 100, ...more }, 0, { devRows });
    joinAll(state, 'a', 'b', 'c', 'd');
    return state;
  };

  it('gives the range of a member that keeps it waiting to another', () => {
    const state = begun(4);
    for (const stream of [0, 1, 2]) say(state, stream, (rows) => rows);
    const effects = step(state, { kind: 'tick', atMs: 200 });
    assert.deepEqual(effects.flatMap((effect) => (effect.kind === 'send' ? [effect.stream] : [])).length, 1);
    const asked = [...state.evaluation!.ranges.find(({ counts: told }) => !told)!.asks.keys()];
    assert.equal(asked.includes(3) && asked.length === 2, true);
    const done = asked.flatMap((stream) => say(state, stream, (rows) => rows));
    assert.deepEqual(reportsOf(done, 'evaluation').length, 1);
  });

  it('asks all where two differ, counts what most say, and refuses who was outvoted twice', () => {
    const state = begun(4);
    const refused: Effect[] = [];
    for (let time = 0; time < 2; time++) {
      const range = state.evaluation!.ranges[0]!;
      for (const stream of [0, 1]) range.asks.set(stream, { atMs: 0, counts: undefined, isOpen: true });
      const lies = (stream: number) => (rows: number) => (stream === 0 ? 3 * rows : rows);
      for (let i = 0; i < 3 && state.evaluation; i++)
        for (const stream of [0, 1, 2, 3]) if (state.evaluation) refused.push(...say(state, stream, lies(stream)));
      assert.equal(state.progress.best?.lossSum, 4);
      state.progress.best = undefined;
      if (time === 0) refused.push(...startEvaluation(state, 10));
    }
    assert.deepEqual(refusals(refused), ['deviant']);
    assert.equal(state.members.has(0), false);
  });

  it('gives some ranges to two members, rows to nobody else, and keeps the adapter before it asks', () => {
    const state = trainer({ startWorkers: 64 }, 0, { devRows: 60 });
    joinAll(state, ...Array.from({ length: 64 }, (_, i) => `w${i}`));
    assert.equal(kinds(startEvaluation(state, 0))[0], 'keepAdapter');
    const { ranges } = state.evaluation!;
    assert.deepEqual([ranges.length, ranges.every(({ rows }) => rows === 1)], [60, true]);
    const two = ranges.filter(({ asks }) => asks.size === 2).length;
    assert(two > 2 && two < 15, `${two} of 60, where an eighth is expected`);
    assert(ranges.every(({ asks }) => asks.size <= 2));
  });

  it('asks those with gradients in a record alone, once there are some, and nobody who is away', () => {
    const state = begun(4);
    for (const stream of [0, 1, 2]) step(state, contribution(stream, 0));
    tick(state, 60_000);
    step(state, { kind: 'closed', atMs: 60_000, stream: 2 });
    assert.deepEqual([state.normaliser.round, new Set(asked(startEvaluation(state, 60_000)))], [1, new Set([0, 1])]);
  });

  for (const [answers, ms, isJoined, patienceMs] of [
    [2, 10, false, 100],
    [2, 100, false, 400],
    [1, 100, false, 2_000],
    [1, 1_000, false, 4_000],
    [0, 0, true, 2_000],
    [0, 0, false, 3_600_000],
  ] as const)
    it(`waits ${patienceMs} ms where ${answers} of 4 took ${ms} ms${isJoined ? ' and one has come since' : ''}`, () => {
      const state = begun(4, { leaseMs: 2_000 });
      for (let stream = 0; stream < answers; stream++) say(state, stream, undefined, ms);
      if (isJoined) join(state, 'e', 4);
      assert.deepEqual(asked(tick(state, patienceMs)), []);
      const before = state.evaluation;
      const effects = tick(state, patienceMs + 1);
      assert(asked(effects).length > 0 || state.evaluation !== before);
    });

  it('gives the rows of silent members to those that owe least', () => {
    const state = begun(4);
    for (const stream of [0, 1]) say(state, stream);
    assert.deepEqual(asked(tick(state, 101)).sort(), [0, 1]);
  });

  it('gives no rows to a member that kept two ranges waiting until it answers again, or where all did', () => {
    const state = begun(4);
    const asksOfLast: boolean[] = [];
    for (let time = 0; time < 3; time++) {
      startEvaluation(state, 1_000 * time);
      asksOfLast.push(state.evaluation!.ranges.some(({ asks }) => asks.has(3)));
      for (const stream of [0, 1, 2]) say(state, stream, undefined, 1_000 * time + 10);
      tick(state, 1_000 * time + 500);
    }
    assert.deepEqual(asksOfLast, [true, true, false]);
    const [range] = state.evaluation?.ranges ?? [];
    assert.equal(range, undefined, 'the others have evaluated all');
    const late = begun(4);
    late.members.get(3)!.missedRanges = 2;
    say(late, 3);
    assert(asked(startEvaluation(late, 20)).includes(3));
    for (const member of late.members.values()) member.missedRanges = 2;
    assert.equal(new Set(asked(startEvaluation(late, 30))).size, 4);
  });

  it('asks four members for a range, one after another, and goes on without it', () => {
    const state = trainer({ startWorkers: 6, leaseMs: 80_000, heartbeatMs: 100 }, 0, { devRows: 1 });
    joinAll(state, 'a', 'b', 'c', 'd', 'e', 'f');
    const [range] = state.evaluation!.ranges;
    const effects = [1, 2, 3, 4, 5, 6].flatMap((time) => tick(state, 100_000 * time));
    assert.deepEqual([range!.asks.size, state.evaluation, framesOf(effects)], [4, undefined, []]);
    assert.deepEqual(reportsOf(effects, 'unevaluated'), [{ kind: 'unevaluated', round: 0, rows: 1 }]);
  });

  it('counts nothing that is of another round, or said again, and what comes after the next record', () => {
    const state = begun(4);
    const [range] = state.evaluation!.ranges;
    assert.deepEqual([step(state, counts(0, range!, 1)), range!.asks.get(0)?.counts], [[], undefined]);
    for (const lossSum of [1, 9]) step(state, counts(0, range!, 0, lossSum));
    assert.equal(range!.asks.get(0)?.counts?.lossSum, 1);
    for (const stream of [0, 1, 2, 3]) step(state, contribution(stream, 0));
    assert.equal(state.normaliser.round, 1);
    const reports = [0, 1, 2, 3].flatMap((stream) => reportsOf(say(state, stream), 'evaluation'));
    assert.deepEqual(reports, [
      { kind: 'evaluation', round: 0, rows: 4, loss: 1, lossPerToken: undefined, accuracy: undefined, best: true },
    ]);
  });

  it('asks a member that is back again, where its adapter has not moved on', () => {
    const asks = [0, 1].map((records) => {
      const state = begun(4);
      const resumeSecret = resumeSecretOf(state.rules.runSecret, 3, 'd', state.members.get(3)!.membership);
      for (let round = 0; round < records; round++)
        for (const stream of [0, 1, 2, 3]) step(state, contribution(stream, round));
      return asked(join(state, 'd', 9, 5, { resumeSecret })).includes(9);
    });
    assert.deepEqual(asks, [true, false]);
  });

  it('counts no range of which more than half of those who were asked say nothing alike', () => {
    const state = begun(1);
    const [range] = state.evaluation!.ranges;
    for (const stream of [0, 1, 2, 3]) range!.asks.set(stream, { atMs: 0, counts: undefined, isOpen: true });
    const effects = [0, 1, 2, 3].flatMap((stream) => say(state, stream, () => (stream < 2 ? 1 : 9)));
    assert.deepEqual([framesOf(effects), reportsOf(effects, 'unevaluated').length], [[], 1]);
    assert.equal(reportsOf(effects, 'disputed').length, 1);
    // All of them are checked from now on, where there are enough to tell who is right.
    startEvaluation(state, 20);
    assert.equal(state.evaluation!.ranges[0]!.asks.size, 4);
    const split = [0, 1, 2, 3].flatMap((stream) => say(state, stream, () => (stream < 2 ? 1 : 9)));
    assert.deepEqual([framesOf(split), reportsOf(split, 'unevaluated').length], [[], 1]);
    for (const stream of [2, 3]) step(state, { kind: 'leave', atMs: 21, stream, reason: '' });
    startEvaluation(state, 22);
    assert.equal(state.evaluation!.ranges[0]!.isDisputed, false);
  });

  for (const [finite, loss, rows] of [
    [2, 1, 2],
    [1, undefined, 4],
  ] as const)
    it(`says ${loss === undefined ? 'no loss' : 'the loss of those rows'} where ${finite} of 4 ranges have a finite one`, () => {
      const state = begun(4);
      const lossOf = (stream: number) => () => (stream < finite ? 1 : Number.POSITIVE_INFINITY);
      for (const range of state.evaluation!.ranges)
        for (const stream of [...range.asks.keys()].slice(1)) range.asks.delete(stream);
      const effects = [0, 1, 2, 3].flatMap((stream) => say(state, stream, lossOf(stream)));
      const [report] = reportsOf(effects, 'evaluation');
      assert.deepEqual([report?.loss, report?.rows], [loss, rows]);
    });

  it('after the last record says that the rounds are done, and goes without where nobody evaluates', () => {
    const ended = (noEvaluation: boolean): Effect[] => {
      const state = trainer({ stopAt: { loss: 5 } }, 0, { rounds: 1, devRows: 4 });
      join(state, 'a', 0, 0, { noEvaluation });
      state.evaluation = undefined;
      return [...step(state, contribution(0, 0)), ...say(state, 0)];
    };
    const [told, untold] = [false, true].map(ended) as [Effect[], Effect[]];
    const texts = [told, untold].map((effects) => effects.flatMap((e) => (e.kind === 'finish' ? [e.text] : [])));
    assert.deepEqual(texts, [['1 round done'], ['1 round done']]);
    assert.deepEqual(
      [told, untold].map((effects) => reportsOf(effects, 'unevaluated').length),
      [0, 1],
    );
  });

  it('refuses counts that nobody can have made', () => {
    const state = begun(4);
    const effects = say(state, 0, () => -1e300);
    assert.deepEqual(
      refusals(effects),
      effects.map(() => 'invalid'),
    );
    assert(effects.length > 0);
  });
});

describe('a trainer that has said its last word', () => {
  it('tells a newcomer that it drains, and takes nobody in', () => {
    const state = trainer();
    join(state, 'a', 1);
    step(state, { kind: 'drain', atMs: 5 });
    const effects = greet(state, 'b', 2, 6);
    assert.deepEqual([notices(effects), kinds(effects)], [[Notice_Kind.TRAINER_DRAINS], ['send']]);
    assert.equal(state.numbers.has('b'), false);
  });

  it('stays for a member that was away as the run ended until it has heard it and hung up, at most for a lease', () => {
    const ended = (): { state: TrainerState; secret: Buffer; effects: Effect[] } => {
      const state = trainer({ startWorkers: 2, deadlineCeilingMs: 300 }, 0, { rounds: 2 });
      join(state, 'a', 1);
      const secret = secretOf(join(state, 'b', 2));
      for (const stream of [1, 2]) step(state, contribution(stream, 0));
      step(state, { kind: 'closed', atMs: 2, stream: 2 });
      step(state, contribution(1, 1));
      return { state, secret, effects: step(state, { kind: 'tick', atMs: 400 }) };
    };
    const { state, secret, effects } = ended();
    assert.deepEqual([notices(effects), exitCodes(effects)], [[Notice_Kind.RUN_DONE], []]);
    const comes = (stream: number, resumeSecret: Buffer): Effect[] => greet(state, 'b', stream, 500, { resumeSecret });
    const thief = [...comes(3, Buffer.alloc(16)), ...step(state, { kind: 'closed', atMs: 500, stream: 3 })];
    assert.deepEqual([notices(thief), exitCodes(thief)], [[Notice_Kind.RUN_DONE], []]);
    const told = comes(4, secret);
    assert.deepEqual([notices(told), exitCodes(told)], [[Notice_Kind.RUN_DONE], []]);
    assert.deepEqual(exitCodes(step(state, { kind: 'closed', atMs: 501, stream: 4 })), [0]);
    const other = ended().state;
    const later = [1_000, 1_002].map((atMs) => exitCodes(step(other, { kind: 'tick', atMs })));
    assert.deepEqual(later, [[], [0]]);
  });

  it('leaves its members in the log where it drains, so that the next waits for them, and out of it where the run is over', () => {
    const draining = trainer({ quorum: 'all' });
    const done = trainer({}, 0, { rounds: 1 });
    for (const state of [draining, done]) join(state, 'a', 1);
    join(draining, 'b', 2);
    step(draining, contribution(1, 0));
    assert.deepEqual(framesOf(step(draining, { kind: 'drain', atMs: 5 })), []);
    assert.deepEqual(framesOf(step(done, contribution(1, 0))), ['joined', 'record', 'left']);
  });

  it('closes the open round as it drains where a quorum answered, and not otherwise', () => {
    const records = [1, 2].map((answers) => {
      const state = trainer({ startWorkers: 3 });
      joinAll(state, 'a', 'b', 'c');
      for (let stream = 0; stream < answers; stream++) step(state, contribution(stream, 0));
      const effects = step(state, { kind: 'drain', atMs: 5 });
      assert.deepEqual([kinds(effects).includes('checkpoint'), exitCodes(effects)], [true, [75]]);
      return recordsOf(effects).length;
    });
    assert.deepEqual(records, [0, 1]);
  });

  it('is done where the round that it closes as it drains is the last', () => {
    const state = trainer({ startWorkers: 3 }, 0, { rounds: 1 });
    joinAll(state, 'a', 'b', 'c');
    for (const stream of [0, 1]) step(state, contribution(stream, 0));
    const effects = step(state, { kind: 'drain', atMs: 5 });
    assert.deepEqual([recordsOf(effects).length, exitCodes(effects)], [1, [0]]);
  });

  it('tells one that comes back that the run failed', () => {
    const state = doubting();
    deviations(state);
    step(state, replayed(state, 5));
    const effects = greet(state, 'c', 9, 6);
    assert.deepEqual([notices(effects), kinds(effects)], [[Notice_Kind.RUN_FAILED], ['send']]);
  });

  it('gives one that comes back the last records before it tells it that the run is done', () => {
    const state = trainer({}, 0, { rounds: 1 });
    join(state, 'a', 1);
    step(state, contribution(1, 0));
    assert.equal(state.phase, 'done');
    const effects = greet(state, 'a', 9, 6, { replica: digest(0), epoch: state.epoch });
    const said = effects.map((effect) => effect.kind === 'send' && effect.message.message?.$case);
    assert.deepEqual([said, notices(effects)], [['welcome', 'record', 'notice'], [Notice_Kind.RUN_DONE]]);
  });
});

describe('a trainer that opens its log again', () => {
  const lost = (state: TrainerState): Record =>
    recordOf(state.normaliser.round, 0, [
      { staleness: 0, worker: 0, firstDirection: 0, gradientBytes: Buffer.from([0x40]) },
    ]);
  const joined = (names: readonly string[]): LogFrame[] =>
    names.map((name, worker) => ({ frame: { $case: 'joined', value: { worker, name, membership: worker } } }));
  const reopened = (names = ['a', 'b', 'c'], devRows = 0): TrainerState =>
    restoreTrainer({ ...rulesOf(), devRows }, joined(names), undefined, 0);
  const firstSecret = ({ rules }: TrainerState, worker: number, name: string): Buffer =>
    resumeSecretOf(rules.runSecret, worker, name, worker);
  const ahead = (state: TrainerState): Effect[] =>
    greet(state, 'a', 1, 1, { resumeSecret: firstSecret(state, 0, 'a'), replica: digest(1), epoch: 1 });

  it('takes a record that it lost back from a worker, and makes none before', () => {
    const state = reopened();
    ahead(state);
    const effects = step(state, {
      kind: 'recordGiven',
      atMs: 2,
      stream: 1,
      record: withProof(state.rules.runSecret, lost(state)),
    });
    assert.deepEqual(kinds(effects).slice(0, 3), ['append', 'broadcast', 'apply']);
    assert.equal(state.normaliser.round, 1);
    const digests = effects.flatMap((effect) => (effect.kind === 'apply' ? [effect.digest] : []));
    assert.deepEqual(digests, [true], 'the worker that gave it is compared at once');
    assert.equal(recordsOf(effects)[0]?.proof, undefined, 'proofs are made anew, not kept');
  });

  it('takes no word for a record: who has shown none goes as soon as all are back', () => {
    const state = reopened(['a']);
    assert.deepEqual(refusals(ahead(state)), []);
    const said = step(state, { kind: 'digest', atMs: 2, stream: 1, digest: digest(1) });
    assert.deepEqual([refusals(said), state.recovery], [['ahead'], undefined]);
  });

  it('ends a run whose last record is there, with the checkpoint that it may have been killed before', () => {
    const rules = rulesOf({}, 0, { rounds: 1 });
    const { normaliser } = absorb(initialNormaliser(rules.learning), rules.learning, lost(reopened()));
    const replica = { theta: new Float32Array(16), normaliser };
    const state = restoreTrainer(rules, [{ frame: { $case: 'record', value: lost(reopened()) } }], replica, 0);
    const effects = step(state, { kind: 'tick', atMs: 1 });
    assert.deepEqual([kinds(effects).includes('checkpoint'), exitCodes(effects)], [true, [0]]);
  });

  it('waits for those who are back as for those who never left, and not as for newcomers', () => {
    const rules = rulesOf();
    const { normaliser } = absorb(initialNormaliser(rules.learning), rules.learning, lost(reopened()));
    const replica = { theta: new Float32Array(16), normaliser };
    const state = restoreTrainer(rules, joined(['a']), replica, 0);
    back(state, 0, 'a');
    join(state, 'new', 5, 1);
    assert.deepEqual(
      [...state.members.values()].map(({ isNewcomer }) => isNewcomer),
      [false, true],
    );
  });

  it('hears no contribution to a round beyond its log before the records are back, and refuses nobody for it', () => {
    const state = reopened();
    ahead(state);
    assert.deepEqual(step(state, contribution(1, 1, 2)), []);
  });

  it('refuses a worker that shows a record which is none of this run, and goes on', () => {
    const state = reopened();
    ahead(state);
    const effects = step(state, {
      kind: 'recordGiven',
      atMs: 2,
      stream: 1,
      record: { ...lost(state), proof: Buffer.alloc(8) },
    });
    assert.deepEqual(refusals(effects), ['ahead']);
    assert.equal(state.normaliser.round, 0);
  });

  it('refuses a worker that shows a record of this run as it went on from another copy of the log, and goes on', () => {
    for (const other of [{ exponent: 1 }, { staleness: [1] }]) {
      const state = reopened();
      ahead(state);
      const record = withProof(state.rules.runSecret, { ...lost(state), ...other });
      const effects = step(state, { kind: 'recordGiven', atMs: 2, stream: 1, record });
      assert.deepEqual(refusals(effects), ['ahead']);
      assert.equal(state.normaliser.round, 0);
    }
  });

  it('asks no worker that said that it evaluates nothing', () => {
    const state = trainer({ startWorkers: 3 }, 0, { devRows: 12 });
    for (const [stream, noEvaluation] of [true, false, true].entries())
      join(state, `w${stream}`, stream, 0, { noEvaluation });
    startEvaluation(state, 1);
    assert.deepEqual(
      state.evaluation!.ranges.map(({ asks }) => [...asks.keys()]),
      [[1]],
    );
  });

  it('has another worker evaluate the rows of one that it refuses', () => {
    const state = reopened(['a', 'b', 'c'], 4);
    for (const [worker, name] of ['a', 'b'].entries())
      join(state, name, worker + 1, 0, { resumeSecret: firstSecret(state, worker, name) });
    ahead(state);
    const record = { ...lost(state), proof: Buffer.alloc(8) };
    const effects = step(state, { kind: 'recordGiven', atMs: 2, stream: 1, record });
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'send' ? [effect.stream] : [])),
      [2],
    );
    assert.deepEqual([...state.evaluation!.ranges[0]!.asks.keys()], [0, 1]);
  });

  it('stops with code 5 when a record is known to exist and nobody can give it', () => {
    const state = reopened();
    ahead(state);
    const later = { ...lost(state), round: 4 };
    for (const record of [later, lost(state)])
      step(state, { kind: 'recordGiven', atMs: 2, stream: 1, record: withProof(state.rules.runSecret, record) });
    const effects = [600, 1_001].flatMap((atMs) => step(state, { kind: 'tick', atMs }));
    assert.deepEqual(exitCodes(effects), [5]);
  });

  const back = (state: TrainerState, worker: number, name: string): Effect[] =>
    join(state, name, worker, 1, { resumeSecret: firstSecret(state, worker, name) });

  /** `a` has caught up and answered; the other two or more are back and have not caught up. */
  const isFirst = (state: TrainerState): Effect[] => {
    back(state, 0, 'a');
    for (const [stream, name] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      if (stream === 0 || !state.former.names.has(name)) continue;
      greet(state, name, stream, 1, { resumeSecret: firstSecret(state, stream, name) });
    }
    return step(state, contribution(0, 0));
  };

  it('closes no round without a quorum of those who were members, also where they are back and have not caught up', () => {
    const state = reopened();
    assert.deepEqual(recordsOf(isFirst(state)), []);
    step(state, { kind: 'digest', atMs: 2, stream: 1, digest: digest(0) });
    assert.deepEqual(recordsOf(step(state, contribution(1, 0)))[0]?.workers, [0, 1]);
  });

  it('counts those who have left since in no quorum', () => {
    const state = reopened(['a', 'b', 'c', 'd']);
    assert.deepEqual(recordsOf(isFirst(state)), []);
    const records = [1, 2].map((stream) =>
      recordsOf(step(state, { kind: 'leave', atMs: 2, stream, reason: 'drained' })),
    );
    assert.deepEqual(
      records.map(({ length }) => length),
      [0, 1],
    );
  });

  it('counts those who were members until a lease has passed, less its own pauses', () => {
    const state = reopened(['a', 'b', 'c', 'd', 'e']);
    assert.deepEqual(recordsOf(isFirst(state)), []);
    // Nobody could be heard for 60 s.
    for (const atMs of [600, 60_600]) assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs })), []);
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 61_000 }))[0]?.workers, [0]);
  });

  it('leaves who is back first no more than its share of the record', () => {
    const state = restoreTrainer(
      rulesOf({}, 1, { gradientsPerRecord: 6, directions: 6 }),
      joined(['a', 'b', 'c']),
      undefined,
      0,
    );
    back(state, 0, 'a');
    step(state, wide(0, 6));
    assert.equal(state.pendingGradients, 2);
  });
});
