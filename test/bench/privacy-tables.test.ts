/** The tables and the plot of docs/privacy.md. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { leakagePlot, privacyTables } from '../../bench/report/privacy-tables.ts';
import { readResults } from '../../bench/report/results.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const root = temporaryDirectory();

function resultsOf(files: readonly object[]) {
  const directory = mkdtempSync(join(root, 'results-'));
  files.forEach((file, i) => {
    writeFileSync(join(directory, `${i}.json`), JSON.stringify({ date: '2026-01-02', ...file }));
  });
  return readResults(directory);
}

const tableOf = (results: ReturnType<typeof resultsOf>, name: string) =>
  privacyTables(results).find((table) => table.name === name)!;

describe('the cost of budgets', () => {
  const run = { workers: 4, rows: 25, rounds: 40, noise: 1, loss: { mean: 0.25, sd: 0 } };
  const accuracy = (mean: number) => ({ accuracy: { mean, sd: 0.01 } });
  const file = (command: string, example: string, rows: readonly object[]) => ({
    ...{ benchmark: 'privacy', command, example, seeds: 3, clip: 2 },
    rows: rows.map((row) => ({ ...run, ...row })),
  });
  const results = resultsOf([
    file('one', 'tiny-reviews', [
      { epsilon: 0, directions: 256, shard: 250, ...accuracy(1) },
      { epsilon: 4, directions: 256, shard: 250, ...accuracy(0.9) },
    ]),
    file('two', 'tiny-reviews', [
      { epsilon: 4, directions: 16, shard: 250, ...accuracy(0.6) },
      { epsilon: 4, directions: 256, shard: 30, ...accuracy(0.7) },
    ]),
    file('three', 'smollm2-sentiment', [{ epsilon: 4, directions: 256, shard: 100, ...accuracy(0.8) }]),
  ]);

  it('is one table of all files of an example, a line for each K, a column for each ε', () => {
    const { head, rows, from, notes } = tableOf(results, 'privacy-directions');
    assert.deepEqual(head, ['K', 'no budget', 'ε 4']);
    assert.deepEqual(rows, [
      ['16', '–', '60.0 ± 1.0 %; 0.25'],
      ['256', '100.0 ± 1.0 %; 0.25', '90.0 ± 1.0 %; 0.25'],
    ]);
    assert.equal(from!.command, 'one; two');
    assert.match(notes[0]!, /^3 seeds; 4 workers, .* in clips: 1 for ε 4\.$/);
  });

  it('is another table by the rows of a worker, of the largest K', () => {
    assert.deepEqual(
      tableOf(results, 'privacy-shard').rows.map(([shard, , cell]) => [shard, cell]),
      [
        ['30', '70.0 ± 1.0 %; 0.25'],
        ['250', '90.0 ± 1.0 %; 0.25'],
      ],
    );
  });

  it('keeps examples apart', () =>
    assert.deepEqual(tableOf(results, 'privacy-directions-smollm2-sentiment').rows, [['256', '80.0 ± 1.0 %; 0.25']]));

  it('says what to type where nothing is measured', () => {
    const { from, command } = tableOf(resultsOf([]), 'privacy-directions-smollm2-sentiment');
    assert.equal(from, undefined);
    assert.equal(
      command,
      'onebyte bench privacy --example examples/smollm2-sentiment --json > bench/results/privacy-directions-smollm2-sentiment.json',
    );
  });
});

describe('what attacks found', () => {
  const seen = { attack: 'which', estimator: 'backward', rows: 1, chance: 0.03125 };
  const file = {
    ...{ benchmark: 'leakage', command: 'c', example: 'tiny-reviews' },
    rows: [
      { ...seen, bytes: 1, found: 0.5 },
      { ...seen, bytes: 1, estimator: 'spsa', found: 0.4 },
      { ...seen, bytes: 196608, estimator: 'averaging', found: 1 },
      { ...seen, bytes: 1, rows: 4, chance: 0.125, found: 0.25 },
    ],
  };

  it('is a table with a column for each size of the minibatch, guessing first and whole gradients last', () => {
    assert.deepEqual(tableOf(resultsOf([file]), 'leakage-which').rows, [
      ['none: guessing', '3 %', '13 %'],
      ['1 B', '50 %', '25 %'],
      ['197 kB: whole gradients', '100 %', '–'],
    ]);
  });

  it('is drawn over the bytes, the whole gradient last', () => {
    const [one] = leakagePlot(resultsOf([file]))!.lines;
    assert.deepEqual(one, {
      name: 'which of 32: 1 row',
      points: [
        [1, 50],
        [196608, 100],
      ],
    });
  });

  it('stands beside what ε allows', () => {
    const member = { ...seen, attack: 'member', bytes: 192, found: 0.6, advantage: 0.2, asked: 50 };
    const rows = [member, { ...member, epsilon: 1, allowed: 0.4621 }];
    const table = tableOf(resultsOf([{ ...file, rows }]), 'leakage-member');
    assert.deepEqual(table.rows, [
      ['192 B', 'none', '0.60', '20 %', '–'],
      ['192 B', '1', '0.60', '20 %', '46 %'],
    ]);
    assert.match(table.notes[0]!, /50 members.* 24 % in one of twenty/);
  });
});
