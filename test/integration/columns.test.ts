/** The run file that docs/data.md shows for files of columns: it trains and evaluates. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { lastJson, root, runOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const page = readFileSync(join(root, 'docs/data.md'), 'utf8');
const shown = (language: string): string => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(page)![1]!;
const runFile = join(directory, 'run.yaml');
writeFileSync(runFile, shown('yaml').replace(/^model: .*$/m, `model: ${join(tinyReviews, 'model')}`));
for (const split of ['train', 'dev', 'test']) writeFileSync(join(directory, `${split}.csv`), shown('csv'));

describe('the run file of files of columns', () => {
  it('trains, and evaluates before and after', async () => {
    const out = join(directory, 'run');
    const result = lastJson(
      await runOnebyte('simulate', runFile, '--workers', '1', '--rounds', '2', '--out', out, '--json'),
    );
    assert.deepEqual([result.rounds, result.accuracyBefore], [2, 0.5]);
  });

  it('says how other rows are read, and eval without it asks for it', async () => {
    const data = join(directory, 'test.csv');
    const { rows, accuracy } = lastJson(await runOnebyte('eval', '--run', runFile, '--data', data, '--json'));
    assert.deepEqual([rows, accuracy], [2, 0.5]);
    const { code, stderr } = await runOnebyte('eval', '--model', join(tinyReviews, 'model'), '--data', data);
    assert.equal(code, 2);
    assert.match(stderr, /test\.csv: .*data\.template.*--run/);
  });
});
