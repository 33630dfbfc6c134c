/** One writer of a run directory at a time, whatever was killed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs, { readlinkSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { takeLock } from '../../../trainer/store/lock-file.ts';
import { type Cleanup, temporaryDirectory } from '../../support/temporary-directory.ts';

const lockFile = (test: Cleanup): string => join(temporaryDirectory(test), 'trainer.lock');

/** Has a process take the lock `file` and die with it. */
function leaveLock(file: string): void {
  const module = new URL('../../../trainer/store/lock-file.ts', import.meta.url).pathname;
  const script = `require(${JSON.stringify(module)}).takeLock(${JSON.stringify(file)}); process.kill(process.pid, 'SIGKILL')`;
  const { signal, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '-e', script], { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
}

describe('the lock of a run directory', () => {
  it('lets one writer in at a time', (test) => {
    const file = lockFile(test);
    const unlock = takeLock(file);
    assert.throws(() => takeLock(file), {
      exitCode: 5,
      message: new RegExp(`process ${process.pid} on .* writes this run`),
    });
    unlock();
    takeLock(file)();
  });

  it('is taken from a process that was killed', (test) => {
    const file = lockFile(test);
    leaveLock(file);
    takeLock(file)();
  });

  it('is taken from a process that was killed as it took the lock of another', (test) => {
    const file = lockFile(test);
    leaveLock(file);
    leaveLock(`${file}.takeover`);
    takeLock(file)();
  });

  it('is not held by another process that has the number of the one that took it', (test) => {
    const file = lockFile(test);
    symlinkSync(`${hostname()} ${process.ppid} before-the-reboot/1`, file);
    takeLock(file)();
  });

  it('is not taken by the second of two that find the same dead holder', (test) => {
    const file = lockFile(test);
    leaveLock(file);
    const winner = lockFile(test);
    takeLock(winner);
    const holder = readlinkSync(winner);
    const read = test.mock.method(fs, 'readlinkSync');
    test.after(() => {
      read.mock.restore();
      syncBuiltinESMExports();
    });
    read.mock.mockImplementationOnce(((path) => {
      const dead = readlinkSync(path);
      unlinkSync(file);
      symlinkSync(holder, file);
      return dead;
    }) as typeof readlinkSync);
    syncBuiltinESMExports();
    assert.throws(() => takeLock(file), /writes this run/);
    assert.equal(fs.readlinkSync(file), holder);
  });

  it('that is no lock is refused with what to do', (test) => {
    const file = lockFile(test);
    writeFileSync(file, '');
    assert.throws(() => takeLock(file), { exitCode: 5, message: /EINVAL. If no trainer writes this run, remove it/ });
  });
});
