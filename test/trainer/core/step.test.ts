/** The trainer's core, sentence by sentence of ARCHITECTURE's "What happens in a round" and its decisions. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Hello, type LogFrame, Notice_Kind, type Record, Welcome_CatchUp } from '../../../proto/gen/onebyte.ts';
import { recordOf } from '../../../proto/record.ts';
import { withProof } from '../../../proto/record-proof.ts';
import { TrainerSettings } from '../../../settings/trainer-settings.ts';
import type { Effect, Event, TrainerRules, TrainerState } from '../../../trainer/core/state.ts';
import { step } from '../../../trainer/core/step.ts';
import { restoreTrainer } from '../../../trainer/store/restore.ts';
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

const hello = (name: string, more: Partial<Hello> = {}): Hello => ({
  name,
  resumeSecret: Buffer.alloc(0),
  runConfigSha256: Buffer.alloc(32),
  ...more,
});
const digest = (round: number, byte = 0): { round: number; sha256: Buffer } => ({
  round,
  sha256: Buffer.alloc(32, byte),
});

/** Joins `name` on `stream` and says where its replica stands. */
function join(state: TrainerState, name: string, stream: number, atMs = 0): Effect[] {
  const effects = step(state, { kind: 'hello', atMs, stream, hello: hello(name) });
  return [...effects, ...step(state, { kind: 'digest', atMs, stream, digest: digest(state.normaliser.round) })];
}

const contribution = (stream: number, measuredRound: number, atMs = 1, firstDirection = 0): Event => ({
  kind: 'contribution',
  atMs,
  stream,
  contribution: { measuredRound, firstDirection, gradientBytes: Buffer.from([0x40]) },
});

/** A contribution to round 0 of 256 directions. */
const full = (stream: number): Event => {
  const gradientBytes = Buffer.alloc(256, 0x40);
  return {
    kind: 'contribution',
    atMs: 1,
    stream,
    contribution: { measuredRound: 0, firstDirection: 0, gradientBytes },
  };
};

const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);
const recordsOf = (effects: readonly Effect[]): Record[] =>
  effects
    .flatMap((effect) => (effect.kind === 'append' ? effect.frames : []))
    .flatMap(({ frame }) => (frame?.$case === 'record' ? [frame.value] : []));
const refusals = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === 'refuse' ? [effect.refusal] : []));
const notices = (effects: readonly Effect[]): Notice_Kind[] =>
  effects.flatMap((effect) =>
    'message' in effect && effect.message.message?.$case === 'notice' ? [effect.message.message.value.kind] : [],
  );

describe('the trainer', () => {
  it('closes the round when every member answered: append, then broadcast, apply', () => {
    const state = trainer({ quorum: 'all' });
    join(state, 'a', 1);
    join(state, 'b', 2);
    assert.deepEqual(kinds(step(state, contribution(1, 0))), []);
    assert.deepEqual(kinds(step(state, contribution(2, 0))), ['append', 'broadcast', 'apply', 'report']);
    assert.equal(state.normaliser.round, 1);
  });

  it('closes the round with a quorum once the deadline has passed', () => {
    const state = trainer({ startWorkers: 2, deadlineCeilingMs: 500 });
    join(state, 'a', 1);
    join(state, 'b', 2);
    step(state, contribution(1, 0));
    assert.deepEqual(recordsOf(step(state, { kind: 'tick', atMs: 499 })), []);
    assert.equal(recordsOf(step(state, { kind: 'tick', atMs: 501 })).length, 1);
  });

  it('waits without a quorum and says so every 10 s', () => {
    const state = trainer({ leaseMs: 100_000, heartbeatMs: 90_000 });
    const reports = [9_999, 10_001, 15_000, 20_002].map((atMs) => step(state, { kind: 'tick', atMs }).length);
    assert.deepEqual(reports, [0, 1, 0, 1]);
  });

  it('closes a record that can take nothing more, whoever is missing', () => {
    const rules = rulesOf({ startWorkers: 65 }, 0, { directions: 256 });
    const state = restoreTrainer(rules, [], undefined, 0);
    for (let stream = 0; stream < 65; stream++) join(state, `w${stream}`, stream);
    const records = Array.from({ length: 65 }, (_, stream) => recordsOf(step(state, full(stream)))).flat();
    assert.deepEqual(
      records.map(({ gradientBytes }) => gradientBytes.length),
      [8_192],
    );
  });

  it('makes no record before all are there to start, however full it is', () => {
    const rules = rulesOf({ startWorkers: 33 }, 0, { directions: 256 });
    const state = restoreTrainer(rules, [], undefined, 0);
    for (let stream = 0; stream < 32; stream++) join(state, `w${stream}`, stream);
    const early = Array.from({ length: 32 }, (_, stream) => recordsOf(step(state, full(stream)))).flat();
    assert.deepEqual([early.length, recordsOf(join(state, 'last', 32)).length], [0, 1]);
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

  it('says how many bytes of a worker were cut', () => {
    const state = trainer({ startWorkers: 2, quorum: 'all' });
    for (const [stream, name] of ['honest', 'loud'].entries()) join(state, name, stream);
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

  it('gives a name its number again, and tells the old stream that it was replaced', () => {
    const state = trainer();
    join(state, 'a', 1);
    const effects = join(state, 'a', 2);
    assert.deepEqual(refusals(effects), ['replaced']);
    assert.deepEqual([...state.members.keys()], [0]);
  });

  it('gives those who ask for none a number above all others, and the smallest that are free after the last', () => {
    const state = trainer();
    const ask = (name: string, stream: number, requestedWorker?: number): string[] =>
      refusals(step(state, { kind: 'hello', atMs: 0, stream, hello: hello(name, { requestedWorker }) }));
    assert.deepEqual([ask('second', 1, 1), ask('any', 2), ask('first', 3, 0)], [[], [], []]);
    assert.deepEqual([ask('greedy', 4, 65_535), ask('a', 5), ask('b', 6, 4), ask('c', 7)], [[], [], [], []]);
    const expected = { second: 1, any: 2, first: 0, greedy: 65_535, a: 3, b: 4, c: 5 };
    assert.deepEqual(Object.fromEntries(state.numbers), expected);
    assert.deepEqual(ask('d', 8, 2), ['name']);
  });

  it('gives nobody a number that a record counts, though the log lost who had it', () => {
    const record = recordOf(0, 0, [{ staleness: 0, worker: 1, firstDirection: 0, gradientBytes: Buffer.from([0x40]) }]);
    const joined = { worker: 0, name: 'a' };
    const frames: LogFrame[] = [
      { frame: { $case: 'joined', value: joined } },
      { frame: { $case: 'record', value: record } },
    ];
    const state = restoreTrainer(rulesOf(), frames, undefined, 0);
    for (const [stream, name] of ['b', 'c', 'a'].entries())
      step(state, { kind: 'hello', atMs: 0, stream, hello: hello(name) });
    assert.deepEqual(Object.fromEntries(state.numbers), { a: 0, b: 2, c: 3 });
  });

  it('refuses a name with a secret that is not its own', () => {
    const state = trainer();
    join(state, 'a', 1);
    const stranger = hello('a', { resumeSecret: Buffer.alloc(16, 9) });
    assert.deepEqual(refusals(step(state, { kind: 'hello', atMs: 1, stream: 2, hello: stranger })), ['name']);
  });

  it('refuses a digest that is none, in a hello too', () => {
    const state = trainer();
    join(state, 'a', 1);
    const wrong = { round: 7, sha256: Buffer.alloc(60_000) };
    const effects = [
      step(state, { kind: 'digest', atMs: 1, stream: 1, digest: wrong }),
      step(state, { kind: 'hello', atMs: 1, stream: 2, hello: hello('b', { replica: { ...wrong, round: 0 } }) }),
    ];
    assert.deepEqual(effects.map(refusals), [['invalid'], ['invalid']]);
    assert.deepEqual(effects.map(kinds), [['refuse'], ['refuse']]);
  });

  it('writes down why a worker left in a line of 200 characters at most', () => {
    const state = trainer();
    join(state, 'a', 1);
    const reason = `drained\u001b[2J\nfake log line\u202e${'x'.repeat(60_000)}`;
    const effects = step(state, { kind: 'leave', atMs: 1, stream: 1, reason });
    const said = effects.flatMap((effect) => {
      if (effect.kind === 'report' && effect.report.kind === 'left') return [effect.report.reason];
      if (effect.kind !== 'append') return [];
      return effect.frames.flatMap(({ frame }) => (frame?.$case === 'left' ? [frame.value.reason] : []));
    });
    const written = `drained\ufffd[2J\ufffdfake log line\ufffd${'x'.repeat(174)}`;
    assert.deepEqual(said, [written, written]);
  });

  it('lets joins take effect at the next round', () => {
    const state = trainer();
    join(state, 'a', 1);
    step(state, contribution(1, 0));
    join(state, 'b', 2);
    assert.equal(recordsOf(step(state, contribution(1, 1))).length, 1);
    assert.equal(recordsOf(step(state, contribution(1, 2))).length, 0);
  });

  it('lets a worker that is a little behind catch up by records, and one of an older epoch by a snapshot', () => {
    const state = trainer({ leaseMs: 100_000 });
    join(state, 'a', 1);
    for (let round = 0; round < 3; round++) step(state, contribution(1, round));
    const catchUps = [state.epoch, state.epoch - 1].map((epoch, i) => {
      const hi = hello('b', { replica: digest(2, 1), epoch });
      const [welcome] = step(state, { kind: 'hello', atMs: 5, stream: 10 + i, hello: hi }).filter(
        (effect) => effect.kind === 'send',
      );
      const content = welcome?.kind === 'send' ? welcome.message.message : undefined;
      return content?.$case === 'welcome' ? content.value.catchUp : undefined;
    });
    assert.deepEqual(catchUps, [Welcome_CatchUp.RECORDS, Welcome_CatchUp.SNAPSHOT]);
  });

  it('lets a deviant worker catch up and refuses it after the second time', () => {
    const state = trainer({ startWorkers: 3 });
    for (const [i, name] of ['a', 'b', 'c'].entries()) join(state, name, i);
    step(state, { kind: 'ownDigest', round: 0, sha256: Buffer.alloc(32, 9) });
    const deviate = (): Effect[] => step(state, { kind: 'digest', atMs: 1, stream: 1, digest: digest(0, 1) });
    assert.deepEqual([deviate(), deviate()].map(notices), [[Notice_Kind.CATCH_UP], [Notice_Kind.CATCH_UP]]);
    assert.deepEqual(refusals(deviate()), ['deviant']);
  });

  it('stops with code 5 when most workers agree with each other and not with it', () => {
    const state = trainer({ startWorkers: 3 });
    for (const [i, name] of ['a', 'b', 'c'].entries()) join(state, name, i);
    step(state, { kind: 'ownDigest', round: 0, sha256: Buffer.alloc(32, 9) });
    const effects = [0, 1].flatMap((stream) => step(state, { kind: 'digest', atMs: 1, stream, digest: digest(0, 1) }));
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'finish' ? [effect.exitCode] : [])),
      [5],
    );
  });

  it('stops with code 6 after three records in a row without one live byte', () => {
    const state = trainer();
    join(state, 'a', 1);
    const abstain = (round: number): Event => {
      const gradientBytes = Buffer.from([0x7f]);
      return {
        kind: 'contribution',
        atMs: 1,
        stream: 1,
        contribution: { measuredRound: round, firstDirection: 0, gradientBytes },
      };
    };
    const last = [0, 1, 2].map((round) => step(state, abstain(round))).at(-1)!;
    assert.deepEqual(
      last.flatMap((effect) => (effect.kind === 'finish' ? [effect.exitCode] : [])),
      [6],
    );
  });
});

describe('a trainer that has said its last word', () => {
  it('tells a newcomer that it drains, and takes nobody in', () => {
    const state = trainer();
    join(state, 'a', 1);
    step(state, { kind: 'drain', atMs: 5 });
    const effects = step(state, { kind: 'hello', atMs: 6, stream: 2, hello: hello('b') });
    assert.deepEqual([notices(effects), kinds(effects)], [[Notice_Kind.TRAINER_DRAINS], ['send']]);
    assert.equal(state.numbers.has('b'), false);
  });

  it('tells one that comes back that the run failed', () => {
    const state = trainer({ startWorkers: 3 });
    for (const [i, name] of ['a', 'b', 'c'].entries()) join(state, name, i);
    step(state, { kind: 'ownDigest', round: 0, sha256: Buffer.alloc(32, 9) });
    for (const stream of [0, 1]) step(state, { kind: 'digest', atMs: 1, stream, digest: digest(0, 1) });
    const effects = step(state, { kind: 'hello', atMs: 6, stream: 9, hello: hello('c') });
    assert.deepEqual([notices(effects), kinds(effects)], [[Notice_Kind.RUN_FAILED], ['send']]);
  });

  it('gives one that comes back the last records before it tells it that the run is done', () => {
    const state = trainer({}, 0, { rounds: 1 });
    join(state, 'a', 1);
    step(state, contribution(1, 0));
    assert.equal(state.phase, 'done');
    const back = hello('a', { replica: digest(0), epoch: state.epoch });
    const effects = step(state, { kind: 'hello', atMs: 6, stream: 9, hello: back });
    const said = effects.map((effect) => effect.kind === 'send' && effect.message.message?.$case);
    assert.deepEqual([said, notices(effects)], [['welcome', 'record', 'notice'], [Notice_Kind.RUN_DONE]]);
  });
});

describe('a trainer that opens its log again', () => {
  const lost = (state: TrainerState): Record =>
    recordOf(state.normaliser.round, 0, [
      { staleness: 0, worker: 0, firstDirection: 0, gradientBytes: Buffer.from([0x40]) },
    ]);
  const reopened = (devRows = 0): TrainerState => {
    const frames = ['a', 'b', 'c'].map((name, worker) => ({
      frame: { $case: 'joined' as const, value: { worker, name } },
    }));
    return restoreTrainer({ ...rulesOf(), devRows }, frames, undefined, 0);
  };
  const ahead = (state: TrainerState): Effect[] =>
    step(state, { kind: 'hello', atMs: 1, stream: 1, hello: hello('a', { replica: digest(1), epoch: 1 }) });

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

  it('has another worker evaluate the rows of one that it refuses', () => {
    const state = reopened(4);
    join(state, 'a', 1);
    join(state, 'b', 2);
    ahead(state);
    const record = { ...lost(state), proof: Buffer.alloc(8) };
    const effects = step(state, { kind: 'recordGiven', atMs: 2, stream: 1, record });
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'send' ? [effect.stream] : [])),
      [2],
    );
    assert.equal(state.evaluation?.parts[0]?.rows, 4);
  });

  it('stops with code 5 when a record is known to exist and nobody can give it', () => {
    const state = reopened();
    ahead(state);
    const later = { ...lost(state), round: 4 };
    step(state, { kind: 'recordGiven', atMs: 2, stream: 1, record: withProof(state.rules.runSecret, later) });
    const effects = step(state, { kind: 'tick', atMs: 1_001 });
    assert.deepEqual(
      effects.flatMap((effect) => (effect.kind === 'finish' ? [effect.exitCode] : [])),
      [5],
    );
  });
});
