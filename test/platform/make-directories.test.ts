/** Directories that are made, and places that take none. */
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { makeDirectories } from '../../platform/make-directories.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('makes a directory with those that hold it, and leaves what is there', () => {
  const directory = temporaryDirectory();
  const path = join(directory, 'a', 'b');
  makeDirectories(path);
  makeDirectories(path);
  assert(statSync(path).isDirectory());
});

it('names the file that is in the way', () => {
  const directory = temporaryDirectory();
  const file = join(directory, 'file');
  writeFileSync(file, '');
  for (const path of [file, join(file, 'a', 'b')])
    assert.throws(() => makeDirectories(path), {
      exitCode: EXIT.usage,
      message: new RegExp(`^${file}: is no directory`),
    });
});

// The recursive mkdir of Node.js 20 tries for ever.
it('refuses a place that takes no directories', { skip: platform() !== 'linux' }, () => {
  assert.throws(() => makeDirectories('/proc/a/b'), {
    exitCode: EXIT.usage,
    message: /^\/proc\/a: \/proc takes no dir/,
  });
});
