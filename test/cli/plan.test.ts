/** What a run is said to cost. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { duration, plural } from '../../cli/format.ts';
import { costApart, costTogether, NO_LINK, type PlannedRun, parseLink, roundBytes } from '../../cli/plan-cost.ts';
import { Learning } from '../../proto/run-config.ts';
import { firstRows } from '../support/first-rows.ts';
import { type Finished, lastJson, runFile, runOnebyte } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const run: PlannedRun = {
  workers: 4,
  rounds: 100,
  directions: 8,
  elements: 1000,
  devRows: 0,
  evaluateEvery: 10,
  overlaps: false,
  answerMs: 0,
};
const probe = { contributionSeconds: 2, recordSeconds: 0.5, devRowSeconds: undefined, peakBytes: 0 };
const near = (actual: number, expected: number): void =>
  // Sums of decimals: nothing but their rounding.
  assert(Math.abs(actual - expected) < 1e-9, `${actual}, expected ${expected}`);

describe('the cost of a run', () => {
  it('is the contribution and the record of every round, on machines of their own', () => {
    assert.deepEqual(costApart(run, probe, NO_LINK), { roundSeconds: 2.5, runSeconds: 250 });
  });

  it('is that of all workers where they share one machine', () => {
    assert.deepEqual(costTogether(run, probe), { roundSeconds: 10, runSeconds: 1000 });
  });

  it('has both ways of the link, and every byte of all workers on that of the trainer', () => {
    near(costApart(run, probe, { rate: Number.POSITIVE_INFINITY, delayMs: 50 }).roundSeconds, 2.6);
    const { up, down } = roundBytes(run);
    assert(up > 8 && down > 32, 'a byte for each direction, and more');
    const slow = costApart(run, probe, { rate: 8000, delayMs: 0 }).roundSeconds;
    near(slow, 2.5 + (4 * (up + down + 2 * 66)) / 1000);
  });

  it('hides the way behind the work where workers do not wait', () => {
    near(costApart({ ...run, overlaps: true }, probe, { rate: 1e6, delayMs: 500 }).roundSeconds, 2.5);
  });

  it('has whole slots where workers with a privacy budget answer: of one, or of all that share a machine', () => {
    const slots = { ...run, answerMs: 3000 };
    near(costApart(slots, probe, NO_LINK).roundSeconds, 3 + 0.5);
    near(costTogether(slots, probe).roundSeconds, 9 + 4 * 0.5);
    near(costApart({ ...run, answerMs: 1500 }, probe, NO_LINK).roundSeconds, 3 + 0.5);
  });

  it('has an evaluation at both ends and every so many rounds, shared by the workers', () => {
    const evaluated = { ...run, devRows: 40 };
    const rowSeconds = { ...probe, devRowSeconds: 0.25 };
    near(costApart(evaluated, rowSeconds, NO_LINK).runSeconds, 250 + (11 * 40 * 0.25) / 4);
    near(costTogether(evaluated, rowSeconds).runSeconds, 1000 + 11 * 40 * 0.25);
  });
});

describe('a link', () => {
  it('is a rate and a delay, one way', () => {
    assert.deepEqual(parseLink('1mbit,50ms'), { rate: 1e6, delayMs: 50 });
    assert.deepEqual(parseLink('256kbit,7.5ms'), { rate: 256e3, delayMs: 7.5 });
  });
  for (const text of ['1mbit', '50ms', '0kbit,1ms', 'fast,1ms', '1mbit,50'])
    it(`${text} is refused with what is expected`, () => assert.throws(() => parseLink(text), /as 1mbit,50ms/));
});

describe('a duration', () => {
  for (const [seconds, text] of [
    [0.0042, '4.2 ms'],
    [0.34, '340 ms'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.6, '1 min 0 s'],
    [328, '5 min 28 s'],
    [3599.7, '1 h 0 min'],
    [7260, '2 h 1 min'],
    [90_000, '1 d 1 h'],
  ] as const)
    it(`of ${seconds} s is "${text}"`, () => assert.equal(duration(seconds), text));
  it('counts one round and two rounds', () =>
    assert.deepEqual([plural(1, 'round'), plural(2, 'round')], ['1 round', '2 rounds']));
});

describe('onebyte plan', () => {
  it('measures a step of every estimator and advises the fastest', async () => {
    const flags = ['--workers', '3', '--rounds', '50', '--link', '1mbit,50ms', '--json'];
    const finished = await runOnebyte('plan', runFile, ...flags);
    assert.equal(finished.code, 0, finished.stderr);
    const { estimators, advised, workers, rounds, sent, elements } = lastJson(finished);
    assert.deepEqual([workers, rounds, elements], [3, 50, 49152]);
    assert.deepEqual(
      estimators.map(({ estimator }: { estimator: string }) => estimator),
      Learning.shape.estimator.unwrap().options,
    );
    for (const { measured, apart } of estimators) {
      assert(measured.contributionSeconds > 0 && measured.peakBytes > 2 ** 20);
      assert(apart.roundSeconds > 0.1 + measured.contributionSeconds, 'the delay of the link, both ways');
    }
    const fastest = Math.min(...estimators.map(({ apart }: { apart: { runSeconds: number } }) => apart.runSeconds));
    assert.equal(
      estimators.find(({ estimator }: { estimator: string }) => estimator === advised).apart.runSeconds,
      fastest,
    );
    assert(sent.up < sent.averaging / 1000);
  });

  it('measures them all where workers have an estimator and directions of their own too', async () => {
    const settings = [
      'worker.estimator=oneSided',
      'worker.quantize=int8',
      'learning.directions=8',
      'worker.directions=2',
    ];
    const finished = await runOnebyte('plan', runFile, ...settingFlags(settings));
    assert.equal(finished.code, 0, finished.stderr);
    assert.match(finished.stdout, /^4 workers, 200 rounds, 2 directions a contribution/m);
    assert.match(finished.stdout, /^spsa /m);
    assert.match(finished.stdout, /^backward: not here \(worker\.quantize int8: not supported/m);
    assert.match(finished.stdout, /^advice +worker\.estimator: (spsa|oneSided) /m);
  });

  it('measures as a worker with a privacy budget does, and is refused what that is', async () => {
    const privacy = ['epsilon=4', 'clip=2', 'delta=0.1'].map((key) => `worker.privacy.${key}`);
    const finished = await runOnebyte('plan', runFile, ...settingFlags(privacy));
    assert.equal(finished.code, 2, finished.stderr);
    assert.match(
      finished.stderr,
      /^onebyte: worker\.privacy\.delta 0\.1: expected less than 1 \/ rows, of 250 rows: [^\n]*\n$/m,
    );
  });

  it('refuses, as simulate does, workers with a privacy budget that would spend it of the same rows', async () => {
    const ledger = join(temporaryDirectory(), 'ledger');
    const privacy = ['epsilon=4', 'clip=2', `ledger=${ledger}`].map((key) => `worker.privacy.${key}`);
    const flags = ['--workers', '3', ...settingFlags([...privacy, 'data.shards=2', 'data.test='])];
    const out = join(temporaryDirectory(), 'run');
    for (const command of [['plan'], ['simulate', '--rounds', '1', '--out', out]]) {
      const finished = await runOnebyte(...command, runFile, ...flags);
      assert.equal(finished.code, 2, finished.stderr);
      assert.match(finished.stderr, /^onebyte: worker\.privacy: 3 workers would share 2 shards/m);
    }
    assert.equal(existsSync(ledger), false);
  });

  it('of a private run draws no more rows than a shard has', async () => {
    const settings = ['worker.privacy.epsilon=8', 'worker.privacy.clip=2', `data.train=${firstRows('dev', 40)}`];
    const flags = settingFlags([...settings, 'learning.rows=25', 'learning.directions=1', 'data.dev=', 'data.test=']);
    const finished = await runOnebyte('plan', runFile, '--rounds', '2', ...flags);
    assert.equal(finished.code, 0, finished.stderr);
    assert.match(finished.stdout, /^privacy .* each row drawn with probability 10 \/ 10: noise /m);
  });

  describe('of a private run with 8-bit weights', () => {
    const ledger = join(temporaryDirectory(), 'ledger');
    const privacy = ['epsilon=4', 'clip=2', 'answerMs=50000', `ledger=${ledger}`].map((key) => `worker.privacy.${key}`);
    const settings = [...privacy, 'learning.rows=25', 'learning.directions=4', 'worker.quantize=int8'];
    let finished: Finished;
    before(async () => {
      const flags = ['--rounds', '40', ...settingFlags(settings)];
      finished = await runOnebyte('plan', runFile, ...flags);
      assert.equal(finished.code, 0, finished.stderr);
    });

    it('tells the noise of its budget, and spends nothing of it', () => {
      // 1,000 rows in 4 shards. The library of test/golden/privacy gives ε 3.8 for noise 1.2 there; 1.17·2·√4 / 25 = 0.187.
      assert.match(
        finished.stdout,
        /^privacy +ε 4, δ 0\.00001 for 40 contributions, if nothing of it is spent yet, each row drawn with probability 25 \/ 250: noise 1\.17 clips on the sum, 0\.187 nats/m,
      );
      assert.equal(existsSync(ledger), false);
    });

    it('has rounds as long as its answers take', () => {
      assert.match(finished.stdout, /^privacy .* projected gradient; an answer leaves after 50 s, or twice that, …$/m);
      assert.match(finished.stdout, /^spsa .* 5\d s +3\d min \d+ s /m);
    });

    it('says of an estimator that 8-bit weights do not allow why not, and goes on', () => {
      assert.match(finished.stdout, /^spsa /m);
      assert.match(finished.stdout, /forward: not here \(worker\.quantize int8: not supported/);
    });
  });
});
