/** Workers whose rows have a privacy budget, as real processes: what is spent stays spent, and is said. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { entriesOf } from '../../proto/record.ts';
import { readRoundLog, recordsOf } from '../../trainer/store/round-log.ts';
import type { CrashPlan } from '../support/crash-points.ts';
import { addressOf, crashing, lastJson, runFile, runOnebyte, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const privacy = ['worker.privacy.epsilon=4', 'worker.privacy.clip=2', 'worker.privacy.answerMs=0'];
const budget = settingFlags([...privacy, 'learning.directions=2']);
const ledgerOf = (workers: number): string => join(directory, `ledger-of-${workers}`);
const simulate = (name: string, workers: number): string[] => [
  ...['simulate', runFile, '--out', join(directory, name), '--rounds', '30', '--workers', String(workers), '--json'],
  ...settingFlags(['data.test=', 'data.dev=', 'trainer.quorum=all', `worker.privacy.ledger=${ledgerOf(workers)}`]),
  ...budget,
];
const spentBy = (worker: number, workers: number): number =>
  readFileSync(join(ledgerOf(workers), `shard-${worker}-of-${workers}.jsonl`), 'utf8').split('\n').length - 1;

describe('a privacy budget', () => {
  it('holds what a worker had measured that was killed (-9) before it sent it', async () => {
    const plan: CrashPlan = {
      directory: join(directory, 'deaths'),
      plans: { 'worker-0': ['before contribution', 'before contribution'] },
    };
    mkdirSync(plan.directory);
    const environment = { ONEBYTE_CRASHES: JSON.stringify(plan) };
    const finished = await startOnebyte(simulate('killed', 2), environment, crashing).finished;
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal(readdirSync(plan.directory).length, 2, 'two deaths');
    const { frames } = await readRoundLog(lastJson(finished).roundLog);
    const inLog = (worker: number): number =>
      recordsOf(frames).filter((record) => entriesOf(record).some((e) => e.worker === worker)).length;
    assert(spentBy(0, 2) >= inLog(0) + 2, `${spentBy(0, 2)} spent, ${inLog(0)} in the log, 2 killed`);
    assert(spentBy(1, 2) >= inLog(1));
  });

  it('that is spent makes the worker abstain and say so, in another run too', async () => {
    // One worker contributes to every round, so the first run spends all.
    const first = await runOnebyte(...simulate('first', 1));
    assert.equal(first.code, 0, first.stderr);
    assert.equal(spentBy(0, 1), 30);
    assert.match(first.stderr, /^privacy budget: ε 0\.00 of 4 .* The ledger is .*ledger-of-1\. .* evaluates nothing$/m);
    const { privacy } = lastJson(first);
    assert(privacy.spent > 3.9 && privacy.spent <= 4, `${privacy.spent}`);
    const finished = await runOnebyte(...simulate('again', 1));
    assert.equal(finished.code, EXIT.usage, finished.stderr);
    assert.match(finished.stderr, /^privacy budget: ε (3\.9|4\.0)\d of 4 /m);
    assert.match(finished.stderr, /budgets of all workers are spent.*Raise worker\.privacy\.epsilon/);
    assert.match(finished.stderr, /worker 0: its privacy budget is spent: its rows have told ε (3\.9|4\.0)\d of 4/);
    assert.equal(spentBy(0, 1), 30);
  });

  it('stands in the status, and its worker needs no dev split and is asked for none', async (test) => {
    const out = ['--out', join(directory, 'status'), '--rounds', '100000'];
    const settings = ['trainer.heartbeatMs=200', 'trainer.evaluateEvery=5', 'learning.directions=2'];
    const flags = [...out, ...settingFlags(settings)];
    const trainer = startOnebyte(['trainer', runFile, ...flags], { LOG_LEVEL: 'debug' });
    test.after(() => trainer.process.kill('SIGKILL'));
    const address = await addressOf(trainer);
    const own = ['--name', 'private', '--data', join(tinyReviews, 'train.jsonl')];
    const elsewhere = settingFlags([`worker.privacy.ledger=${join(directory, 'other')}`, 'data.dev=']);
    const worker = startOnebyte(['worker', runFile, '--trainer', address, ...own, ...budget, ...elsewhere]);
    test.after(() => worker.process.kill('SIGKILL'));
    await trainer.line(/worker 0: its rows have told ε/);
    await trainer.line(/500 dev rows are not evaluated|round 6: /);
    const { stdout } = await runOnebyte('status', address);
    assert.match(stdout, /private +\w+ .*ε [0-4]\.\d\d of 4/);
    assert.doesNotMatch(stdout, /dev loss|training loss/);
    trainer.process.kill('SIGTERM');
    worker.process.kill('SIGTERM');
    await Promise.all([trainer.finished, worker.finished]);
  });
});
