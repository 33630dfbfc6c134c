/** One writer of a run directory at a time, whatever was killed, and wherever the other one runs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs, { readdirSync, readlinkSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ownModule } from '../../../platform/own-module.ts';
import { takeLock } from '../../../trainer/store/lock-file.ts';
import { inPidNamespace, whyNoPidNamespaces } from '../../support/pid-namespace.ts';
import { type Cleanup, temporaryDirectory } from '../../support/temporary-directory.ts';

const module = ownModule(new URL('../../../trainer/store/lock-file', import.meta.url));
/** Short, so that nothing is waited for long; many beats lie in one wait, as they should. */
const TIMES = { beatMs: 20, deadAfterMs: 1_000 };

const lockFile = (): string => join(temporaryDirectory(), 'trainer.lock');

/** @returns what was said */
async function take(test: Cleanup, file: string): Promise<string[]> {
  const said: string[] = [];
  const lock = await takeLock(file, (text) => said.push(text), undefined, TIMES);
  test.after(() => lock.release());
  return said;
}

const taking = (file: string, then: string): string[] => [
  ...(module.isSource ? ['--import', 'tsx'] : []),
  '-e',
  `import(${JSON.stringify(module.url.href)})
    .then(({ takeLock }) => takeLock(${JSON.stringify(file)}, () => {}, undefined, ${JSON.stringify(TIMES)}))
    .then(() => { ${then} })`,
];

/** Has a process take the lock `file` and die with it. */
function leaveLock(file: string): void {
  const script = taking(file, `process.kill(process.pid, 'SIGKILL')`);
  const { signal, stderr } = spawnSync(process.execPath, script, { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
}

/** A process of another PID namespace, with the same host name, that has the lock `file`. */
async function foreignHolder(test: Cleanup, file: string): Promise<ChildProcess> {
  const [command, ...args] = inPidNamespace(
    process.execPath,
    ...taking(file, 'console.log(0); setInterval(() => {}, 1000)'),
  );
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  test.after(() => child.kill('SIGKILL'));
  await once(child.stdout!, 'data');
  return child;
}

/** A function of node:fs that does something else until the test ends. */
function mocked<Name extends 'readlinkSync' | 'lutimesSync'>(test: TestContext, name: Name) {
  const method = test.mock.method(fs, name);
  test.after(() => {
    method.mock.restore();
    syncBuiltinESMExports();
  });
  return method.mock;
}

describe('the lock of a run directory', () => {
  it('lets one writer in at a time', async (test) => {
    const file = lockFile();
    const lock = await takeLock(file, assert.fail);
    await assert.rejects(takeLock(file, assert.fail), {
      exitCode: 5,
      message: new RegExp(
        `process ${process.pid} on .* writes this run\\. .* is a copy of that run.s, remove the file$`,
      ),
    });
    lock.release();
    assert.deepEqual(await take(test, file), []);
  });

  it('is taken at once from a process that was killed', async (test) => {
    const file = lockFile();
    leaveLock(file);
    assert.deepEqual(await take(test, file), []);
  });

  it('is taken from a process that was killed as it took the lock of another', async (test) => {
    const file = lockFile();
    leaveLock(file);
    leaveLock(`${file}.takeover`);
    assert.deepEqual(await take(test, file), []);
    assert.deepEqual(readdirSync(dirname(file)), ['trainer.lock'], 'the next one may take it over too');
  });

  it('is not held by another process that has the number of the one that took it', async (test) => {
    const file = lockFile();
    leaveLock(file);
    const [host, pid, _, ...where] = readlinkSync(file).split(' ');
    assert.notEqual(pid, String(process.ppid));
    for (const other of [process.ppid, process.pid]) {
      const again = lockFile();
      symlinkSync([host, other, 1, ...where].join(' '), again);
      assert.deepEqual(await take(test, again), []);
    }
  });

  it('is taken where its holder lets it go meanwhile', async (test) => {
    const file = lockFile();
    symlinkSync('elsewhere 1 1 boot/pid:[1] id', file);
    // Asked as this waits.
    const signal = { throwIfAborted: () => unlinkSync(file) } as unknown as AbortSignal;
    const lock = await takeLock(file, () => {}, signal, TIMES);
    test.after(() => lock.release());
    const other = lockFile();
    const holder = await takeLock(other, assert.fail);
    mocked(test, 'readlinkSync').mockImplementationOnce(((path) => {
      holder.release();
      return readlinkSync(path);
    }) as typeof readlinkSync);
    syncBuiltinESMExports();
    assert.deepEqual(await take(test, other), []);
  });

  it('is left to others where its time cannot be set', async (test) => {
    const file = lockFile();
    mocked(test, 'lutimesSync').mockImplementation(() => {
      throw Object.assign(new Error(), { code: 'EPERM' });
    });
    syncBuiltinESMExports();
    await assert.rejects(takeLock(file, assert.fail), { exitCode: 5, message: /its time cannot be set \(EPERM\)$/ });
    assert.deepEqual(readdirSync(dirname(file)), []);
  });

  it('is not taken by the second of two that find the same dead holder', async (test) => {
    const file = lockFile();
    leaveLock(file);
    const winner = lockFile();
    await take(test, winner);
    const holder = readlinkSync(winner);
    mocked(test, 'readlinkSync').mockImplementationOnce(((path) => {
      const dead = readlinkSync(path);
      unlinkSync(file);
      symlinkSync(holder, file);
      return dead;
    }) as typeof readlinkSync);
    syncBuiltinESMExports();
    await assert.rejects(takeLock(file, assert.fail), /writes this run/);
    assert.equal(fs.readlinkSync(file), holder);
  });

  it('that is none, or of another version, is refused with what to do', async () => {
    const file = lockFile();
    writeFileSync(file, '');
    await assert.rejects(takeLock(file, assert.fail), {
      exitCode: 5,
      message: /EINVAL. If no trainer writes this run, remove it/,
    });
    for (const text of ['1 before/1', '1 1 before']) {
      unlinkSync(file);
      symlinkSync(`${hostname()} ${text}`, file);
      await assert.rejects(takeLock(file, assert.fail), {
        exitCode: 5,
        message: /another version. If no trainer .* remove it/,
      });
    }
  });

  it('is missed by its holder when the directory is removed or another process has it', async () => {
    const file = lockFile();
    const lock = await takeLock(file, assert.fail);
    lock.check();
    unlinkSync(file);
    assert.throws(() => lock.check(), { exitCode: 5, message: /the run directory was removed or moved/ });
    symlinkSync('another', file);
    assert.throws(() => lock.check(), { exitCode: 5, message: /another process took it/ });
    lock.release();
    assert.equal(readlinkSync(file), 'another');
  });
});

describe('the lock of a process of another PID namespace and the same host name', {
  skip: whyNoPidNamespaces(),
}, () => {
  it('is not taken as long as that lives', async (test: TestContext) => {
    const file = lockFile();
    await foreignHolder(test, file);
    const holder = readlinkSync(file);
    await assert.rejects(take(test, file), { exitCode: 5, message: new RegExp(`on ${hostname()} writes this run`) });
    assert.equal(readlinkSync(file), holder);
  });

  it('is taken once it was killed and gave no sign of life for a time', async (test: TestContext) => {
    const file = lockFile();
    const holder = await foreignHolder(test, file);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const [said, ...more] = await take(test, file);
    assert.match(said ?? '', /waiting up to 1 s for a sign of life/);
    assert.deepEqual(more, []);
  });

  it('is not waited for by a process that is stopped', async (test: TestContext) => {
    const file = lockFile();
    const holder = await foreignHolder(test, file);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const stop = new AbortController();
    await assert.rejects(
      takeLock(file, () => stop.abort(new Error('stopped')), stop.signal),
      /stopped/,
    );
  });
});
