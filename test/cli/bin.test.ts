/** What bin/onebyte.js says where there is nothing that it can run. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { bin, startOnebyte } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const parent = temporaryDirectory();

/** Runs a copy of the command in a package with the empty file `file` beside it. */
function runIn(file: string) {
  const directory = mkdtempSync(join(parent, 'package-'));
  for (const folder of ['bin', 'cli']) mkdirSync(join(directory, folder));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, file), '');
  copyFileSync(bin, join(directory, 'bin', 'onebyte.js'));
  return startOnebyte(['--version'], { ONEBYTE_COMPILED: undefined }, join(directory, 'bin', 'onebyte.js')).finished;
}

describe('the command', () => {
  it('says of a package that was packed without a build how to make one', async () => {
    const { code, stderr } = await runIn('README.md');
    assert.deepEqual([code, stderr.split('\n').length], [2, 2], stderr);
    assert.match(stderr, /^onebyte: dist\/cli\/main\.js is missing: .*npm run build/);
  });

  it('says of a clone without its dependencies to install them', async () => {
    const { code, stderr } = await runIn('cli/main.ts');
    assert.deepEqual([code, stderr], [2, 'onebyte: tsx, which runs the sources, is missing: run npm ci\n']);
  });
});
