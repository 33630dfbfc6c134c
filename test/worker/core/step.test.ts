/** The worker's core: what it says on the next stream, and what it does when the trainer is gone after its last word. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Notice_Kind,
  type PrivacyBudget,
  type TrainerMessage,
  type Welcome,
  Welcome_CatchUp,
} from '../../../proto/gen/onebyte.ts';
import { DIGEST_EVERY } from '../../../proto/limits.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { recordOf } from '../../../proto/record.ts';
import { initialWorker, type TaskResult, type WorkerEffect, type WorkerState } from '../../../worker/core/state.ts';
import { step } from '../../../worker/core/step.ts';

const ROUNDS = 3;
const rules = { name: 'w', requestedWorker: undefined, resumeSecret: Buffer.alloc(0), giveUpMs: 60_000 };
const terms = {
  runConfigSha256: Buffer.alloc(32),
  directions: 1,
  maxStaleness: 0,
  computesOn: 'cpu',
  isPrivate: false,
};

const message = (state: WorkerState, said: TrainerMessage['message']): WorkerEffect[] =>
  step(state, { kind: 'message', atMs: 1, message: { message: said } });
const computed = (state: WorkerState, result: TaskResult): WorkerEffect[] => step(state, { kind: 'computed', result });
const lost = (state: WorkerState): WorkerEffect[] => step(state, { kind: 'lost', atMs: 2, reason: 'gone', jitter: 0 });
const ends = (effects: readonly WorkerEffect[]): number[] =>
  effects.flatMap((effect) => (effect.kind === 'finish' ? [effect.exitCode] : []));

const says = (effects: readonly WorkerEffect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === 'send' ? [effect.message.$case] : []));

const welcome = (catchUp: Welcome_CatchUp, rounds = ROUNDS): Welcome => {
  const resumeSecret = Buffer.alloc(16);
  return { worker: 0, resumeSecret, round: 0, heartbeatMs: 500, rounds, epoch: 1, devRows: 0, catchUp };
};

/** A worker that has just been welcomed: its compute joins. */
function welcomed(catchUp: Welcome_CatchUp, rounds = ROUNDS, own = terms, round = 0): WorkerState {
  const state = initialWorker(rules, 0);
  step(state, { kind: 'start' });
  step(state, { kind: 'opened', atMs: 0, terms: own });
  message(state, { $case: 'welcome', value: { ...welcome(catchUp, rounds), round } });
  return state;
}

/** Lets the compute finish what it was given, whatever that is. */
function finishTask(state: WorkerState): WorkerEffect[] {
  const { task } = state.running!;
  const { round } = state;
  const sha256 = Buffer.alloc(32);
  switch (task.kind) {
    case 'readData':
      return computed(state, { kind: 'readData', data: { rows: 1, truncated: 0, merged: 0 } });
    case 'apply':
      return computed(state, { kind: 'apply', round: task.record.round + 1 });
    case 'measure': {
      const { firstDirection } = task;
      const contribution = { measuredRound: round, firstDirection, gradientBytes: Buffer.alloc(1) };
      return computed(state, { kind: 'measure', contribution, privacy: undefined, losses: undefined });
    }
    case 'evaluate':
      return computed(state, { kind: 'evaluate', counts: { ...task.request, correct: 0, classified: 0, lossSum: 0 } });
    default:
      return computed(state, { kind: task.kind, digest: { round, sha256 } });
  }
}

const taskOf = ({ running }: WorkerState): string | undefined => running?.task.kind;

/** Lets the compute work until it measures or has nothing to do. */
function settle(state: WorkerState): WorkerEffect[] {
  const effects: WorkerEffect[] = [];
  for (let tasks = 0; state.running && taskOf(state) !== 'measure' && tasks < 2_000; tasks++)
    effects.push(...finishTask(state));
  return effects;
}

/** A worker that has caught up, and measures. */
function measuring(rounds = ROUNDS, own = terms): WorkerState {
  const state = welcomed(Welcome_CatchUp.NONE, rounds, own);
  settle(state);
  return state;
}

/** The worker's round is over: it hears the record and applies it. */
function nextRecord(state: WorkerState): WorkerEffect[] {
  if (taskOf(state) === 'measure') finishTask(state);
  message(state, { $case: 'record', value: recordOf(state.round, 0, []) });
  return settle(state);
}

/** The stream breaks, and the next one is welcomed. @returns what is said on it before and after the welcome */
function again(state: WorkerState, value: Partial<Welcome> = {}, own = terms): string[] {
  lost(state);
  step(state, { kind: 'retry' });
  const said = says(step(state, { kind: 'opened', atMs: 3, terms: own }));
  while (state.running) said.push(...says(finishTask(state)));
  const effects = message(state, { $case: 'welcome', value: { ...welcome(Welcome_CatchUp.NONE), ...value } });
  return [...said, ...says(effects), ...says(settle(state))];
}

/** A worker that measures round 0 while all records of the run and the trainer's last word wait in its inbox. */
function behind(catchUp: Welcome_CatchUp): WorkerState {
  const state = welcomed(catchUp);
  for (let round = 0; round < ROUNDS; round++) message(state, { $case: 'record', value: recordOf(round, 0, []) });
  message(state, { $case: 'notice', value: { kind: Notice_Kind.RUN_DONE, text: 'done' } });
  return state;
}

describe('a worker whose trainer opens streams and welcomes nobody', () => {
  it('gives up as with one that is not reached', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    for (let tasks = 0; tasks < 3; tasks++) finishTask(state);
    const refusedAt = (atMs: number): WorkerEffect[] => {
      step(state, { kind: 'retry' });
      step(state, { kind: 'opened', atMs, terms });
      assert.deepEqual(says(finishTask(state)), ['hello']);
      return step(state, { kind: 'lost', atMs, reason: 'another run', jitter: 0 });
    };
    lost(state);
    assert.deepEqual(ends(refusedAt(rules.giveUpMs)), []);
    assert.deepEqual(ends(refusedAt(rules.giveUpMs + 3)), [EXIT.trainerUnreachable]);
  });

  it('but has the time that its model takes to load at first', () => {
    const state = initialWorker(rules, 0);
    step(state, { kind: 'start' });
    step(state, { kind: 'opened', atMs: 2 * rules.giveUpMs, terms });
    assert.deepEqual(ends(step(state, { kind: 'lost', atMs: 2 * rules.giveUpMs, reason: 'gone', jitter: 0 })), []);
  });
});

describe('a worker whose stream broke', () => {
  it('tries for as long as it may, however long the trainer had nothing to say before', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    const brokeMs = 10 * rules.giveUpMs;
    const lostAt = (atMs: number): number[] => ends(step(state, { kind: 'lost', atMs, reason: 'gone', jitter: 0 }));
    assert.deepEqual(lostAt(brokeMs), []);
    step(state, { kind: 'retry' });
    assert.deepEqual(lostAt(brokeMs + rules.giveUpMs), []);
    step(state, { kind: 'retry' });
    assert.deepEqual(lostAt(brokeMs + rules.giveUpMs + 1), [EXIT.trainerUnreachable]);
  });

  it('does not give the trainer up before it could say hello, however long it computes', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    finishTask(state);
    finishTask(state);
    assert.equal(state.running?.task.kind, 'measure');
    lost(state);
    const tryAt = (atMs: number): string[] => {
      step(state, { kind: 'retry' });
      const said = says(step(state, { kind: 'opened', atMs, terms }));
      if (state.running?.task.kind === 'digest') said.push(...says(finishTask(state)));
      const after = ends(step(state, { kind: 'lost', atMs: atMs + 1, reason: 'no hello', jitter: 0 }));
      return [...said, ...after.map((code) => `ends with ${code}`)];
    };
    assert.deepEqual(tryAt(2 * rules.giveUpMs), []);
    finishTask(state);
    assert.deepEqual(tryAt(3 * rules.giveUpMs), ['hello']);
    assert.deepEqual(tryAt(4 * rules.giveUpMs), ['hello', `ends with ${EXIT.trainerUnreachable}`]);
  });

  it('says hello first, whatever was applied meanwhile', () => {
    const state = welcomed(Welcome_CatchUp.NONE, 1);
    finishTask(state);
    finishTask(state);
    message(state, { $case: 'record', value: recordOf(0, 0, []) });
    finishTask(state);
    assert.equal(state.running?.task.kind, 'apply');
    lost(state);
    step(state, { kind: 'retry' });
    const said = says(step(state, { kind: 'opened', atMs: 3, terms }));
    for (let tasks = 0; state.running && tasks < 20; tasks++) said.push(...says(finishTask(state)));
    assert.deepEqual([state.round, said], [1, ['hello']]);
  });

  it('reads its data again when the trainer that is back has another dev split', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    finishTask(state);
    finishTask(state);
    for (const devRows of [0, 100]) {
      lost(state);
      step(state, { kind: 'retry' });
      step(state, { kind: 'opened', atMs: 3, terms });
      while (state.running) finishTask(state);
      message(state, { $case: 'welcome', value: { ...welcome(Welcome_CatchUp.NONE), devRows } });
      assert.equal(taskOf(state), devRows === 0 ? 'digest' : 'readData');
      finishTask(state);
    }
  });
});

describe('a worker that comes back', () => {
  it('waits twice as long each time, at most 5 s, half of it by chance, and as at first once it was heard', () => {
    const state = measuring();
    const waits = (jitter: number) => (): number[] => {
      const effects = step(state, { kind: 'lost', atMs: 2, reason: 'gone', jitter });
      step(state, { kind: 'retry' });
      return effects.flatMap((effect) => (effect.kind === 'retryIn' ? [effect.ms] : []));
    };
    const first = Array.from({ length: 7 }, waits(1)).flat();
    assert.deepEqual([first, waits(0)()], [[250, 500, 1_000, 2_000, 4_000, 5_000, 5_000], [2_500]]);
    step(state, { kind: 'opened', atMs: 3, terms });
    message(state, { $case: 'notice', value: { kind: Notice_Kind.LATE, text: '' } });
    assert.deepEqual(waits(0)(), [125]);
  });

  it('hears and says nothing in between', () => {
    const state = measuring();
    lost(state);
    const events = [
      { kind: 'snapshot', bytes: new Uint8Array(1) },
      { kind: 'lost', atMs: 3, reason: 'gone', jitter: 0 },
      { kind: 'heartbeat' },
      { kind: 'opened', atMs: 3, terms },
    ] as const;
    for (const event of events) assert.deepEqual(step(state, event), [], event.kind);
    const tries = [1, 2].map(() => step(state, { kind: 'retry' }));
    assert.deepEqual(tries, [[{ kind: 'connect' }], []], 'it is connecting');
  });

  it('says hello once, though the way broke as it made the digest for it', () => {
    const state = measuring();
    lost(state);
    step(state, { kind: 'retry' });
    finishTask(state);
    step(state, { kind: 'opened', atMs: 3, terms });
    assert.equal(taskOf(state), 'digest');
    assert.deepEqual(again(state), ['hello', 'digest']);
  });

  it('forgets what the last stream brought, and what it still computed for it', () => {
    const state = measuring();
    message(state, { $case: 'record', value: recordOf(0, 0, []) });
    assert.deepEqual([again(state), state.round, taskOf(state)], [['hello', 'digest'], 0, 'measure']);
    finishTask(state);
    message(state, { $case: 'evaluate', value: { round: 0, firstRow: 0, rows: 1 } });
    assert.equal(taskOf(state), 'evaluate');
    assert.deepEqual(again(state), ['hello', 'digest']);
  });

  it('measures where it was catching up by records before and need not now', () => {
    const state = welcomed(Welcome_CatchUp.RECORDS, ROUNDS, terms, 2);
    settle(state);
    assert.equal(taskOf(state), undefined, 'not before it has caught up');
    again(state);
    assert.equal(taskOf(state), 'measure');
  });

  it('gives a trainer that lost records those from its round on, of the last 512', () => {
    const given = (records: number, round: number): number[] => {
      const state = measuring(1_000);
      for (let i = 0; i < records; i++) nextRecord(state);
      lost(state);
      step(state, { kind: 'retry' });
      step(state, { kind: 'opened', atMs: 3, terms });
      while (state.running) finishTask(state);
      const value = { ...welcome(Welcome_CatchUp.GIVE_RECORDS, 1_000), round };
      return message(state, { $case: 'welcome', value }).flatMap((effect) =>
        effect.kind === 'send' && effect.message.$case === 'recordGiven' ? [effect.message.value.round] : [],
      );
    };
    assert.deepEqual(given(3, 1), [1, 2]);
    const most = given(514, 0);
    assert.deepEqual([most.length, most[0]], [512, 2]);
  });
});

describe('a worker that is to take a snapshot', () => {
  it('keeps what it hears until it has restored one, and measures then as if it had not measured', () => {
    const state = measuring(20);
    finishTask(state);
    message(state, { $case: 'notice', value: { kind: Notice_Kind.CATCH_UP, text: 'deviant' } });
    assert.deepEqual(message(state, { $case: 'record', value: recordOf(0, 0, []) }), []);
    step(state, { kind: 'snapshot', bytes: new Uint8Array(1) });
    assert.deepEqual([says(settle(state)), state.round, taskOf(state)], [['digest'], 1, 'measure']);
    finishTask(state);
    message(state, { $case: 'notice', value: { kind: Notice_Kind.CATCH_UP, text: 'deviant' } });
    step(state, { kind: 'snapshot', bytes: new Uint8Array(1) });
    settle(state);
    assert.deepEqual([state.round, taskOf(state)], [1, 'measure']);
    const given = again(state, { catchUp: Welcome_CatchUp.GIVE_RECORDS, round: 0 });
    assert.equal(given.includes('recordGiven'), false, 'those of before may not be the run’s');
  });

  /** The rounds of the replica that the hello of its next stream shows. */
  const shown = (state: WorkerState): (number | undefined)[] => {
    lost(state);
    step(state, { kind: 'retry' });
    const effects = step(state, { kind: 'opened', atMs: 3, terms });
    for (let tasks = 0; state.running && tasks < 20; tasks++) effects.push(...finishTask(state));
    return effects.flatMap((effect) =>
      effect.kind === 'send' && effect.message.$case === 'hello' ? [effect.message.value.replica?.round] : [],
    );
  };

  it('shows no replica on its next stream until it has restored one', () => {
    const state = welcomed(Welcome_CatchUp.SNAPSHOT);
    finishTask(state);
    assert.deepEqual(shown(state), [undefined]);
  });

  it('shows none after its own was found to deviate either', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    finishTask(state);
    finishTask(state);
    message(state, { $case: 'notice', value: { kind: Notice_Kind.CATCH_UP, text: 'deviant' } });
    finishTask(state);
    assert.equal(state.phase, 'catchingUp');
    assert.deepEqual(shown(state), [undefined]);
  });

  it('asks for one again where a trainer takes it for a newcomer that needs none', () => {
    const state = welcomed(Welcome_CatchUp.SNAPSHOT);
    finishTask(state);
    shown(state);
    const effects = message(state, { $case: 'welcome', value: welcome(Welcome_CatchUp.NONE) });
    assert.equal(state.phase, 'catchingUp');
    assert(effects.some(({ kind }) => kind === 'fetchSnapshot'));
  });

  it('shows the replica that it restored', () => {
    const state = welcomed(Welcome_CatchUp.SNAPSHOT);
    finishTask(state);
    step(state, { kind: 'snapshot', bytes: new Uint8Array(1) });
    finishTask(state);
    assert.deepEqual(shown(state), [0]);
  });
});

describe('a worker', () => {
  it('goes on at the next directions of its round where bytes may be late, and with its round elsewhere', () => {
    const firsts = [0, 2].map((maxStaleness) => {
      const state = measuring(ROUNDS, { ...terms, directions: 4, maxStaleness });
      finishTask(state);
      return state.running?.task.kind === 'measure' ? state.running.task.firstDirection : undefined;
    });
    assert.deepEqual(firsts, [undefined, 4]);
  });

  it('evaluates the adapter of its round alone', () => {
    const state = measuring();
    finishTask(state);
    const ask = (round: number): string | undefined => {
      message(state, { $case: 'evaluate', value: { round, firstRow: 0, rows: 1 } });
      return taskOf(state);
    };
    assert.deepEqual([ask(1), ask(0)], [undefined, 'evaluate']);
  });

  it('applies each record once, shows its replica after the last one, and measures no more', () => {
    const state = measuring();
    assert.deepEqual(says(nextRecord(state)), []);
    finishTask(state);
    assert.deepEqual(message(state, { $case: 'record', value: recordOf(0, 0, []) }), []);
    assert.equal(taskOf(state), undefined);
    assert.deepEqual([says(nextRecord(state)), says(nextRecord(state))], [[], ['digest']]);
    assert.deepEqual([state.round, taskOf(state)], [ROUNDS, undefined]);
  });

  it('shows its replica as soon as it has caught up by records, and then in its turn', () => {
    const state = welcomed(Welcome_CatchUp.RECORDS, 50, terms, 2);
    settle(state);
    const said = Array.from({ length: 4 }, () => says(nextRecord(state)));
    assert.deepEqual(said, [[], ['digest'], [], []]);
  });

  for (const [kind, code] of [
    ['RUN_DONE', EXIT.done],
    ['RUN_FAILED', EXIT.diverged],
  ] as const)
    it(`ends with code ${code} where it is told ${kind}`, () => {
      const state = measuring();
      finishTask(state);
      assert.deepEqual(ends(message(state, { $case: 'notice', value: { kind: Notice_Kind[kind], text: '' } })), [code]);
    });

  it('shows a person no control characters that the trainer sends, and no more than a line', () => {
    const state = welcomed(Welcome_CatchUp.NONE);
    finishTask(state);
    finishTask(state);
    finishTask(state);
    const text = `\u001b[2J\n${'x'.repeat(60_000)}`;
    const [report] = message(state, { $case: 'notice', value: { kind: Notice_Kind.LATE, text } });
    assert.deepEqual(report, { kind: 'report', report: { kind: 'late', text: `\ufffd[2J\ufffd${'x'.repeat(995)}` } });
  });
});

/** Lets the compute finish a measurement of four rows of eight tokens in all. */
function measured(state: WorkerState, lossSum: number, privacy?: PrivacyBudget): WorkerEffect[] {
  const contribution = { measuredRound: state.round, firstDirection: 0, gradientBytes: Buffer.alloc(1) };
  return computed(state, { kind: 'measure', contribution, privacy, losses: { lossSum, rows: 4, tokens: 8 } });
}

describe('what its minibatches lose', () => {
  const told = (effects: readonly WorkerEffect[]) =>
    effects.flatMap((e) =>
      e.kind === 'send' && e.message.$case === 'heartbeat' ? [e.message.value.trainingLoss] : [],
    );
  const beat = (state: WorkerState) => told(step(state, { kind: 'heartbeat' }));
  const nextRound = (state: WorkerState): void => {
    message(state, { $case: 'record', value: recordOf(state.round, 0, []) });
    while (taskOf(state) !== 'measure') finishTask(state);
  };

  it('a worker tells with each heartbeat, as the mean of all since the last, and the first at once', () => {
    const state = welcomed(Welcome_CatchUp.NONE, 20);
    while (taskOf(state) !== 'measure') finishTask(state);
    assert.deepEqual(told(measured(state, 8)), [{ perRow: 2, perToken: 1 }]);
    nextRound(state);
    assert.deepEqual(told(measured(state, 4)), []);
    nextRound(state);
    assert.deepEqual(told(measured(state, 2)), []);
    assert.deepEqual(beat(state), [{ perRow: 0.75, perToken: 0.375 }]);
    assert.deepEqual(beat(state), [undefined], 'nothing was measured since');
  });

  it('and with each digest, so that a fast run does not wait for heartbeats', () => {
    const state = welcomed(Welcome_CatchUp.NONE, 50);
    while (taskOf(state) !== 'measure') finishTask(state);
    const heard: (object | undefined)[] = [];
    while (state.round < 2 * DIGEST_EVERY) {
      heard.push(...told(measured(state, 4)));
      message(state, { $case: 'record', value: recordOf(state.round, 0, []) });
      while (taskOf(state) !== 'measure') heard.push(...told(finishTask(state)));
    }
    assert.equal(heard.length, 3, 'after the first measurement, and with two digests');
    assert.deepEqual(new Set(heard.map((loss) => JSON.stringify(loss))), new Set(['{"perRow":1,"perToken":0.5}']));
  });

  it('and leaves out what is not finite', () => {
    const state = welcomed(Welcome_CatchUp.NONE, 20);
    while (taskOf(state) !== 'measure') finishTask(state);
    assert.deepEqual([told(measured(state, Number.NaN)), beat(state)], [[], [undefined]]);
  });

  it('and tells a trainer that was started again at once', () => {
    const state = welcomed(Welcome_CatchUp.NONE, 20);
    while (taskOf(state) !== 'measure') finishTask(state);
    measured(state, 8);
    lost(state);
    step(state, { kind: 'retry' });
    step(state, { kind: 'opened', atMs: 3, terms });
    while (state.running) finishTask(state);
    message(state, { $case: 'welcome', value: welcome(Welcome_CatchUp.NONE, 20) });
    while (taskOf(state) !== 'measure') finishTask(state);
    assert.deepEqual(told(measured(state, 4)), [{ perRow: 1, perToken: 0.5 }]);
  });
});

describe('a worker with a privacy budget', () => {
  const budget = { epsilon: 4, delta: 1e-5, spent: 3.9, exhausted: true };
  const privately = { ...terms, maxStaleness: 4, isPrivate: true };

  /** Joined, and measuring. */
  function measuring(): { state: WorkerState; hello: WorkerEffect[] } {
    const state = initialWorker(rules, 0);
    step(state, { kind: 'start' });
    const hello = step(state, { kind: 'opened', atMs: 0, terms: privately });
    message(state, { $case: 'welcome', value: { ...welcome(Welcome_CatchUp.NONE), devRows: 9 } });
    while (taskOf(state) !== 'measure') finishTask(state);
    return { state, hello };
  }
  const measuredPrivately = (state: WorkerState): WorkerEffect[] => measured(state, 8, budget);

  it('says with its hello that it evaluates nothing, and does not when it is asked', () => {
    const { state, hello } = measuring();
    const [said] = hello.flatMap((e) => (e.kind === 'send' && e.message.$case === 'hello' ? [e.message.value] : []));
    assert.equal(said?.noEvaluation, true);
    message(state, { $case: 'evaluate', value: { round: 0, firstRow: 0, rows: 9 } });
    measuredPrivately(state);
    assert.equal(taskOf(state), undefined);
  });

  it('contributes once a round, however late a byte may be', () => {
    const { state } = measuring();
    assert.deepEqual(says(measured(state, 8, { ...budget, exhausted: false })), ['contribution']);
    assert.equal(taskOf(state), undefined);
    message(state, { $case: 'record', value: recordOf(0, 0, []) });
    finishTask(state);
    assert.equal(taskOf(state), 'measure');
  });

  it('tells the trainer that the budget is spent before it abstains for it, once', () => {
    const { state } = measuring();
    assert.deepEqual(says(measuredPrivately(state)), ['heartbeat', 'contribution']);
    message(state, { $case: 'record', value: recordOf(0, 0, []) });
    finishTask(state);
    assert.deepEqual(says(measuredPrivately(state)), ['contribution']);
  });

  it('tells a trainer that was started again that the budget is spent, and plans anew where that makes more rounds', () => {
    const { state } = measuring();
    measuredPrivately(state);
    const said = again(state, { devRows: 9 }, privately);
    assert.deepEqual(said, ['hello', 'heartbeat', 'digest']);
    lost(state);
    step(state, { kind: 'retry' });
    step(state, { kind: 'opened', atMs: 3, terms: privately });
    while (state.running) finishTask(state);
    const longer = { ...welcome(Welcome_CatchUp.NONE, ROUNDS + 1), devRows: 9 };
    const tasks = message(state, { $case: 'welcome', value: longer }).filter(({ kind }) => kind === 'compute');
    assert.deepEqual(tasks, [
      { kind: 'compute', task: { kind: 'readData', worker: 0, devRows: 9, rounds: ROUNDS + 1 } },
    ]);
  });

  it('tells the trainer with each heartbeat how the budget stands, and a person once that it is spent', () => {
    const { state } = measuring();
    const reports = (effects: WorkerEffect[]): string[] =>
      effects.flatMap((effect) => (effect.kind === 'report' ? [effect.report.kind] : []));
    assert.deepEqual(reports(measuredPrivately(state)), ['spent']);
    const beat = { $case: 'heartbeat', value: { privacy: budget } };
    assert.deepEqual(step(state, { kind: 'heartbeat' }), [{ kind: 'send', message: beat }], 'and no loss of its rows');
    message(state, { $case: 'record', value: recordOf(0, 0, []) });
    finishTask(state);
    assert.deepEqual(reports(measuredPrivately(state)), []);
  });
});

describe('a worker whose trainer is gone after the end of the run', () => {
  it('applies the records that it was sent, then ends', () => {
    const state = behind(Welcome_CatchUp.NONE);
    assert.deepEqual(ends(lost(state)), []);
    const codes: number[] = [];
    for (let tasks = 0; state.running && tasks < 20; tasks++) codes.push(...ends(finishTask(state)));
    assert.deepEqual([state.round, codes], [ROUNDS, [EXIT.done]]);
  });

  it('ends at once when it waits for a snapshot, which cannot come', () => {
    assert.deepEqual(ends(lost(behind(Welcome_CatchUp.SNAPSHOT))), [EXIT.done]);
  });
});
