/**
 * One writer of a run directory: a symbolic link to the name of the process that has it, so that the lock appears with its
 * holder in one step. Its time is renewed as long as the holder lives, which is how processes of another machine or container,
 * that cannot look at it, know. A process that was killed leaves the lock behind; the next one sees that.
 */
import { randomUUID } from 'node:crypto';
import { lstatSync, lutimesSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { EXIT, OperatingError, storeError } from '../../proto/operating-error.ts';

/** How often the lock may change hands while one process tries to take it. */
const ATTEMPTS = 4;

/** How often a holder that watches looks whether it still is one, ms. */
const CHECK_MS = 1_000;

export interface LockTimes {
  /** Between two signs of life of the holder. */
  readonly beatMs: number;
  /** Without a sign of life for so long, a holder that cannot be looked at is dead. Several beats, and more than a network file system caches. */
  readonly deadAfterMs: number;
}
const TIMES: LockTimes = { beatMs: 2_000, deadAfterMs: 10_000 };

/** The run directory is another's by now, or gone: nothing more is written there. */
export class LockLost extends OperatingError {
  constructor(message: string) {
    super(EXIT.durableStore, message);
  }
}

export interface Lock {
  /** @throws LockLost where this process has the lock no longer: the directory is gone, or the lock is another's */
  check(): void;
  /** Checks every second from now on. @param lost is told what `check` throws @returns ends it */
  watch(lost: (error: unknown) => void): () => void;
  /** The writer is done. */
  release(): void;
}

/** Who has a lock, as it stands in the link. */
interface Holder {
  readonly text: string;
  readonly host: string;
  readonly pid: number;
  /** When the process began: a process id alone is used again, in a container at once. */
  readonly birth: string;
  /** Where the process id means something. */
  readonly place: string;
}

/** Process ids of one boot of one machine, in one container. A host name tells less: containers may share it. */
const place = `${readText('/proc/sys/kernel/random/boot_id') ?? ''}/${linkText('/proc/self/ns/pid') ?? hostname()}`;
const birth = birthOf(process.pid) ?? String(Math.round(Date.now() / 1000 - process.uptime()));
const own = [hostname(), process.pid, birth, place, randomUUID()].join(' ');

/**
 * Takes the lock `file`. Where a process that cannot be looked at has it, this waits for a sign of life.
 * @param say told when this waits
 * @param signal aborted: waits no longer, and throws its reason
 * @throws OperatingError durableStore: another process has it
 */
export async function takeLock(
  file: string,
  say: (text: string) => void,
  signal?: AbortSignal,
  times = TIMES,
): Promise<Lock> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (link(file)) return held(file, times);
    const holder = holderOf(file);
    if (holder === undefined) continue;
    if (!(isDead(holder) ?? !(await beats(file, holder, say, signal, times))))
      throw storeError(
        `lock ${file}: process ${holder.pid} on ${holder.host} writes this run. End it first; if it is gone for good, or this directory is a copy of that run's, remove the file`,
      );
    await removeLock(file, holder, say, signal, times);
  }
  throw storeError(`lock ${file}: other processes take it at the same time`);
}

/** Makes the lock this process's. @returns false: it is another's */
function link(file: string): boolean {
  try {
    symlinkSync(own, file);
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw storeError(`lock ${file}: ${code}`, { cause });
  }
}

/** A thread of its own renews the time: replaying a long log holds the main one for longer than a dead holder is waited for. */
const BEAT = `
const { lutimesSync, readlinkSync } = require('node:fs');
const { file, own, beatMs } = require('node:worker_threads').workerData;
setInterval(() => {
  try {
    if (readlinkSync(file) === own) lutimesSync(file, Date.now() / 1000, Date.now() / 1000);
  } catch {}
}, beatMs);
`;

function held(file: string, { beatMs }: LockTimes): Lock {
  try {
    lutimesSync(file, Date.now() / 1000, Date.now() / 1000);
  } catch (cause) {
    unlink(file);
    throw storeError(`lock ${file}: its time cannot be set (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  const heart = new Worker(BEAT, { eval: true, workerData: { file, own, beatMs } });
  heart.unref();
  const lock: Lock = {
    check() {
      const now = linkText(file);
      if (now !== own)
        throw new LockLost(
          now === undefined
            ? `lock ${file}: it is gone: the run directory was removed or moved while the run went on`
            : `lock ${file}: another process took it; this one gave no sign of life for too long`,
        );
    },
    watch(lost) {
      const timer = setInterval(() => {
        try {
          lock.check();
        } catch (error) {
          lost(error);
        }
      }, CHECK_MS);
      return () => clearInterval(timer);
    },
    release() {
      void heart.terminate();
      if (linkText(file) === own) unlink(file);
    },
  };
  return lock;
}

/** Who has the lock `file`; undefined: nobody any more. */
function holderOf(file: string): Holder | undefined {
  let text: string;
  try {
    text = readlinkSync(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw storeError(`lock ${file}: ${code}. If no trainer writes this run, remove it`, { cause });
  }
  const [host, pid, birth, place, id] = text.split(' ');
  if (host === undefined || birth === undefined || place === undefined || id === undefined)
    throw storeError(`lock ${file}: of another version. If no trainer writes this run, remove it`);
  return { text, host, pid: Number(pid), birth, place };
}

/** Whether the holder runs no more; undefined: it is of another machine or container. */
function isDead(holder: Holder): boolean | undefined {
  if (holder.place !== place) return undefined;
  if (holder.pid === process.pid) return holder.birth !== birth;
  // Where it is not known when the process began, it is taken for the same.
  return !isAlive(holder.pid) || (birthOf(holder.pid) ?? holder.birth) !== holder.birth;
}

/** Whether `holder` gives a sign of life, or lets the lock go, before it is taken for dead. No clock but this process's own is asked. */
async function beats(
  file: string,
  holder: Holder,
  say: (text: string) => void,
  signal: AbortSignal | undefined,
  { beatMs, deadAfterMs }: LockTimes,
): Promise<boolean> {
  const seconds = deadAfterMs / 1000;
  say(
    `lock ${file}: process ${holder.pid} on ${holder.host}, of another machine or container, has it; waiting up to ${seconds} s for a sign of life`,
  );
  const first = timeOf(file);
  for (const end = performance.now() + deadAfterMs; performance.now() < end; await sleep(beatMs / 4)) {
    signal?.throwIfAborted();
    if (linkText(file) !== holder.text) return false;
    if (timeOf(file) !== first) return true;
  }
  return false;
}

const timeOf = (file: string): bigint | undefined => lstatSync(file, { bigint: true, throwIfNoEntry: false })?.mtimeNs;

/**
 * Removes the lock of the dead `holder`. Of many that found it dead one at a time may look again and remove: else the lock
 * that the first of them has by now would be removed by the second.
 */
async function removeLock(
  file: string,
  holder: Holder,
  ...rest: [(text: string) => void, AbortSignal | undefined, LockTimes]
): Promise<void> {
  const takeover = await takeLock(`${file}.takeover`, ...rest);
  try {
    if (linkText(file) === holder.text) unlink(file);
  } finally {
    takeover.release();
  }
}

/** Not rmSync: some versions of Node.js 24 pass over a link that leads nowhere (nodejs/node#61020). */
function unlink(file: string): void {
  try {
    unlinkSync(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The clock tick in which process `pid` began. Undefined where the system does not say. */
function birthOf(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The 22nd field. The second is the program's name in parentheses, which may hold anything.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function linkText(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
