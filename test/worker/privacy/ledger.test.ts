/** What was spent of a privacy budget: kept beside the data, whatever process, run or crash there is. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { EXIT, OperatingError } from '../../../proto/operating-error.ts';
import { Ledger } from '../../../worker/privacy/ledger.ts';
import { PrivacyBudget } from '../../../worker/privacy/privacy-budget.ts';
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
    for (const line of [
      '{"samplingRate":2,"noise":1}',
      '{"samplingRate":0.1,"noise":1e-9}',
      '{"samplingRate":0.1,"noise":1e300}',
    ]) {
      writeFileSync(fileOf('damaged'), `${line}\n`);
      assert.throws(() => budget('damaged'), failsWith(EXIT.durableStore, /damaged at/));
    }
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

describe('a privacy budget', () => {
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
