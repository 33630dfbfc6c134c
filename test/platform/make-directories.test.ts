/** Directories that are made, and places that take none. */
import assert from 'node:assert/strict';
import fs, { statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { platform } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { makeDirectories, syncPath } from '../../platform/make-directories.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('makes a directory with those that hold it, and leaves what is there', () => {
  const directory = temporaryDirectory();
  const path = join(directory, 'a', 'b');
  makeDirectories(path);
  makeDirectories(path);
  assert(statSync(path).isDirectory());
});

for (const [what, call, code] of [
  ['this user may not read', 'openSync', 'EACCES'],
  ['cannot be synced', 'fsyncSync', 'EINVAL'],
] as const)
  it(`makes one in a directory that ${what}, which excuses no file`, (test) => {
    const directory = temporaryDirectory();
    const file = join(directory, 'file');
    writeFileSync(file, '');
    test.mock.method(fs, call, () => {
      throw Object.assign(new Error(code), { code });
    });
    syncBuiltinESMExports();
    test.after(syncBuiltinESMExports);
    makeDirectories(join(directory, 'a'));
    assert(statSync(join(directory, 'a')).isDirectory());
    assert.throws(() => syncPath(file), { code });
    test.mock.restoreAll();
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
