/** Learning rates that are tried, and which one is advised. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { advice, type Trial } from '../../cli/sweep-advice.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { firstRows } from '../support/first-rows.ts';
import { lastJson, runFile, runOnebyte } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const trial = (rate: number, losses: readonly number[], diverged = false): Trial => ({
  rate,
  diverged,
  evaluations: losses.map((loss) => ({ loss, accuracy: undefined })),
});

describe('the advice of a sweep', () => {
  it('is the rate with the least dev loss at the end', () => {
    assert.equal(advice([trial(1, [4, 3]), trial(2, [4, 2]), trial(4, [4, 3])]).rate, 2);
  });
  it('is the lower of two that are alike', () => {
    assert.equal(advice([trial(1, [4, 2.03]), trial(2, [4, 2]), trial(4, [4, 3])]).rate, 1);
  });
  it('is the rate that learnt most where a short run takes little off a large loss', () => {
    assert.equal(advice([trial(1, [60, 59.5]), trial(2, [60, 59]), trial(4, [60, 59.4])]).rate, 2);
    assert.equal(advice([trial(1, [60, 59.02]), trial(2, [60, 59]), trial(4, [60, 59.4])]).rate, 1);
  });
  it('is none that diverged or ended above its start, and none where all did', () => {
    const bad = [trial(2, [4, 1], true), trial(4, [4, 5]), trial(8, [4, Number.NaN])];
    assert.equal(advice([trial(1, [4, 3.5]), ...bad]).rate, 1);
    const { rate, text } = advice(bad);
    assert.equal(rate, undefined);
    assert.match(text, /none of these rates/);
  });
  it('says that the best was at an edge', () => {
    assert.match(advice([trial(1, [4, 3]), trial(2, [4, 2])]).text, /try higher ones too/);
    assert.match(advice([trial(1, [4, 2]), trial(2, [4, 3])]).text, /try lower ones too/);
  });
});

it('onebyte sweep runs every rate to its end on the same rows and tells of each', async () => {
  const out = join(temporaryDirectory(), 'trials');
  // What ends a run early would have rates compared after unlike numbers of rounds.
  const settings = settingFlags([`data.dev=${firstRows('dev', 50)}`, 'trainer.stopAt.loss=100', 'trainer.patience=1']);
  const flags = ['--rates', '2e-3,1e30', '--rounds', '8', '--workers', '1', '--out', out, '--json', ...settings];
  const finished = await runOnebyte('sweep', runFile, ...flags);
  assert.equal(finished.code, 0, finished.stderr);
  const { trials, advised } = lastJson(finished);
  assert.deepEqual(
    trials.map(({ rate, diverged }: Trial) => [rate, diverged]),
    [
      [2e-3, false],
      [1e30, true],
    ],
  );
  assert.equal(advised, 2e-3);
  assert.equal(trials[0].evaluations.length, 5);
  assert.equal(trials[0].evaluations[0].loss, trials[1].evaluations[0].loss);
});

it('onebyte sweep spends nothing of a privacy budget: it refuses a run file that has one', async () => {
  const ledger = join(temporaryDirectory(), 'ledger');
  const privacy = ['epsilon=4', 'clip=2', `ledger=${ledger}`].map((key) => `worker.privacy.${key}`);
  const flags = ['--rates', '2e-3', '--rounds', '1', '--workers', '1', '--out', join(temporaryDirectory(), 'trials')];
  const finished = await runOnebyte('sweep', runFile, ...flags, ...settingFlags(privacy));
  assert.equal(finished.code, EXIT.usage, finished.stderr);
  assert.match(finished.stderr, /^onebyte: worker\.privacy: trials would spend the budget.*--set worker\.privacy=$/m);
  assert.equal(existsSync(ledger), false);
});
