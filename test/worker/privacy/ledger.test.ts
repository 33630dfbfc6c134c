/** What was spent of a privacy budget: kept beside the data, whatever process, run or crash there is. */
import assert from 'node:assert/strict';
import fs, {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { EXIT, OperatingError } from '../../../proto/operating-error.ts';
import { untilAnswer } from '../../../worker/privacy/answer-time.ts';
import { Ledger } from '../../../worker/privacy/ledger.ts';
import { mechanismFor, mostSpent, PrivacyBudget } from '../../../worker/privacy/privacy-budget.ts';
import { PrivateShard } from '../../../worker/privacy/private-shard.ts';
import { syncedPaths } from '../../support/synced-paths.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const parent = temporaryDirectory();
const open = (name: string, shard = 0, shards = 1): Ledger =>
  Ledger.open({ directory: join(parent, name), shard, shards });
const fileOf = (name: string): string => join(parent, name, 'shard-0-of-1.jsonl');
const cost = { samplingRate: 0.1, noise: 1.5 };

const settings = { epsilon: 3, delta: 1e-5, clip: 1, answerMs: 0 };
const shard = { size: 40, rows: 4 };
function budget(name: string, contributions = 10, epsilon = 3): PrivacyBudget {
  const planned = new PrivacyBudget({ ...settings, epsilon }, open(name));
  planned.plan(shard, contributions);
  return planned;
}

const failsWith = (exitCode: number, message: RegExp) => (error: unknown) =>
  error instanceof OperatingError && error.exitCode === exitCode && message.test(error.message);

describe('the ledger', () => {
  it('holds every line that was appended, also for the next process and for one beside it', () => {
    const [one, other] = [open('lines'), open('lines')];
    one.append(cost);
    other.append(cost);
    assert.deepEqual(one.take(), [cost, cost]);
    assert.deepEqual(one.take(), []);
    assert.deepEqual(other.take(), [cost, cost]);
    assert.deepEqual(open('lines').take(), [cost, cost]);
  });

  it('is durable from when it is made, each line before it is counted', async (test) => {
    const synced = await syncedPaths(test, parent);
    const ledger = open('durable');
    assert.deepEqual(synced.splice(0), ['', 'durable']);
    ledger.append(cost);
    assert.deepEqual(synced, ['durable/shard-0-of-1.jsonl']);
    assert.equal(statSync(fileOf('durable')).mode & 0o777, 0o600, 'what rows have told is nobody else’s business');
  });

  it('loses a line that a crash cut off, and no other', () => {
    open('torn').append(cost);
    const whole = readFileSync(fileOf('torn'));
    appendFileSync(fileOf('torn'), whole.subarray(0, 12));
    const ledger = open('torn');
    assert.deepEqual(ledger.take(), [cost]);
    ledger.append(cost);
    assert.deepEqual(open('torn').take(), [cost, cost]);
  });

  it('is refused where it is damaged or became shorter, with code 5', () => {
    open('damaged').append(cost);
    const ledger = open('damaged');
    ledger.take();
    truncateSync(fileOf('damaged'), 3);
    assert.throws(() => ledger.take(), failsWith(EXIT.durableStore, /became shorter/));
    truncateSync(fileOf('damaged'), 2 ** 26 + 1);
    assert.throws(() => open('damaged'), failsWith(EXIT.durableStore, /67108865 bytes, expected at most/));
    for (const line of [
      '{"samplingRate":2,"noise":1}',
      '{"samplingRate":0.1,"noise":1e-9}',
      '{"samplingRate":0.1,"noise":1e300}',
    ]) {
      writeFileSync(fileOf('damaged'), `${line}\n`);
      assert.throws(() => budget('damaged'), failsWith(EXIT.durableStore, /damaged at/));
    }
  });

  it('spends nothing where a line is written in part', (test) => {
    const ledger = open('part');
    const { writeSync } = fs;
    test.mock.method(fs, 'writeSync', (fd: number, line: Buffer) => writeSync(fd, line, 0, 5));
    syncBuiltinESMExports();
    test.after(syncBuiltinESMExports);
    assert.throws(() => ledger.append(cost), failsWith(EXIT.durableStore, /written in part/));
    test.mock.restoreAll();
  });

  it('is refused where the rows were divided otherwise before', () => {
    open('divided', 1, 4);
    open('divided', 2, 4);
    assert.throws(() => open('divided', 0, 2), failsWith(EXIT.usage, /divided otherwise before, expected 2 shards/));
  });

  it('may lie beside what is none: a volume has a lost+found', () => {
    open('volume').append(cost);
    mkdirSync(join(dirname(fileOf('volume')), 'lost+found'));
    assert.deepEqual(open('volume').take(), [cost]);
  });
});

it('the ledger of a data file is the same by whatever link the file is named', () => {
  const [file, link] = [join(parent, 'rows.jsonl'), join(parent, 'current.jsonl')];
  writeFileSync(file, '');
  symlinkSync('rows.jsonl', link);
  const place = { shard: 0, shards: 1, rounds: 10 };
  const ledgers = [file, link].map((train) => new PrivateShard(settings, { ...place, trainFiles: [train] }, []).kept());
  assert.deepEqual(ledgers[1]!.ledger, ledgers[0]!.ledger);
  assert.match(ledgers[0]!.ledger, /rows\.jsonl\.privacy$/);
});

it('a ledger beside a link, which would not be counted, is refused', () => {
  const [file, link] = [join(parent, 'linked.jsonl'), join(parent, 'link.jsonl')];
  writeFileSync(file, '');
  symlinkSync('linked.jsonl', link);
  mkdirSync(`${link}.privacy`);
  const shard = () => new PrivateShard(settings, { shard: 0, shards: 1, rounds: 10, trainFiles: [link] }, []);
  assert.throws(shard, failsWith(EXIT.usage, /link\.jsonl\.privacy: a ledger beside a link, .*linked\.jsonl\.privacy/));
  assert.equal(existsSync(`${file}.privacy`), false);
  renameSync(`${link}.privacy`, `${file}.privacy`);
  symlinkSync('linked.jsonl.privacy', `${link}.privacy`);
  assert.equal(shard().kept().ledger, `${realpathSync(file)}.privacy`);
});

it('a δ by which a row may be told whole is refused, and so are several files without a place for what is told of them', () => {
  const shard = (delta: number, trainFiles: string[]) => () =>
    new PrivateShard({ ...settings, delta }, { shard: 0, shards: 1, rounds: 1, trainFiles }, Array(10).fill(undefined));
  const [one, other] = ['one.jsonl', 'other.jsonl'].map((name) => join(parent, name)) as [string, string];
  writeFileSync(one, '');
  assert.throws(shard(0.1, [one]), failsWith(EXIT.usage, /delta 0.1: expected less than 1 \/ rows, of 10 rows/));
  assert.throws(shard(0.09, [one, other]), failsWith(EXIT.usage, /worker\.privacy\.ledger: missing/));
  shard(0.09, [one])().close();
});

it('an answer leaves a whole number of slots after its measuring began, at least one', () => {
  const waits = [0, 999, 1000, 1001].map((passedMs) => untilAnswer(passedMs, 1000));
  assert.deepEqual([waits, untilAnswer(5, 0)], [[1000, 1, 0, 999], 0]);
});

describe('a privacy budget', () => {
  it('is planned once, of what all processes have left', () => {
    const [one, other] = ['plan', 'plan'].map((name) => new PrivacyBudget(settings, open(name)));
    one!.plan(shard, 10);
    const { mechanism } = one!;
    one!.plan(shard, 1000);
    assert.equal(one!.mechanism, mechanism);
    for (let i = 0; i < 10; i++) one!.spend();
    other!.plan(shard, 10);
    assert.equal(other!.mechanism, undefined);
  });

  it('measures nothing where another process spent the last contribution at the same moment', () => {
    const ledger = open('race');
    const last = new PrivacyBudget(settings, ledger);
    last.plan(shard, 10);
    for (let i = 0; i < 9; i++) assert(last.spend(), `contribution ${i}`);
    const append = ledger.append.bind(ledger);
    ledger.append = (own) => {
      open('race').append(own);
      append(own);
    };
    assert.equal(last.spend(), undefined);
  });

  it('draws every row of a shard that is no larger than a minibatch', () => {
    const { samplingRate, expectedRows } = mechanismFor(settings, { size: 2, rows: 4 }, 10)!;
    assert.deepEqual({ samplingRate, expectedRows }, { samplingRate: 1, expectedRows: 2 });
  });

  it('of which most is spent is what a person is told of several', () => {
    const kept = [1, 3, 2].map((spent) => ({ stand: { ...settings, spent, exhausted: false }, ledger: '' }));
    assert.equal(mostSpent(kept)?.stand.spent, 3);
  });

  it('lasts for the contributions that it was planned for, and for few more', () => {
    const planned = budget('planned');
    for (let i = 0; i < 10; i++) assert(planned.spend(), `contribution ${i}`);
    assert(planned.stand().spent > 0.98 * 3 && planned.stand().spent <= 3, `${planned.stand().spent}`);
    assert.equal(planned.stand().exhausted, false, 'a run that ends with its budget lacks nothing');
    assert.equal(planned.spend(), undefined);
    assert.equal(planned.stand().exhausted, true);
    assert.equal(open('planned').take().length, 10);
  });

  it('is spent before the contribution is measured, and stays so for a process that takes its place', () => {
    const killed = budget('killed');
    for (let i = 0; i < 4; i++) killed.spend();
    const next = budget('killed', 6);
    assert.equal(next.stand().spent, killed.stand().spent);
    for (let i = 0; i < 6; i++) assert(next.spend(), `contribution ${i}`);
    assert.equal(next.spend(), undefined);
    assert(next.stand().spent <= 3);
  });

  it('counts those of a process beside it', () => {
    const [one, other] = [budget('beside'), budget('beside')];
    for (let i = 0; i < 5; i++) assert(one.spend() && other.spend());
    assert.deepEqual([one.spend(), other.spend()], [undefined, undefined]);
    assert(one.stand().spent <= 3);
  });

  it('measures nothing where less than a hundredth is left, and goes on where more is given', () => {
    const first = budget('more');
    for (let i = 0; i < 20; i++) first.spend();
    assert.equal(budget('more').mechanism, undefined);
    const second = budget('more', 10, 6);
    assert(second.mechanism!.noise > 0 && second.spend());
  });
});
