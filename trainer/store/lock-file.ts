/**
 * One writer of a run directory: a symbolic link to the name of the process that has it, so that the lock appears with its
 * holder in one step. A process that was killed leaves it behind; the next one sees that.
 */
import { readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { EXIT, OperatingError } from '../../proto/operating-error.ts';

/** How often the lock may change hands while one process tries to take it. */
const ATTEMPTS = 4;

/** Names this process: a process id alone is used again, in a container at once. */
const own = `${hostname()} ${process.pid} ${birthOf(process.pid) ?? Math.round(Date.now() / 1000 - process.uptime())}`;

/**
 * Takes the lock `file`. @returns to call when the writer is done
 * @throws OperatingError durableStore: another process has it
 */
export function takeLock(file: string): () => void {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      symlinkSync(own, file);
      return () => unlink(file);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== 'EEXIST') throw new OperatingError(EXIT.durableStore, `lock ${file}: ${code}`, { cause });
    }
    const holder = holderOf(file);
    if (holder === undefined) continue;
    if (!isDead(holder)) {
      const [host, pid] = holder.split(' ');
      const text = `lock ${file}: process ${pid} on ${host} writes this run. End it first; if it is gone for good, remove the file`;
      throw new OperatingError(EXIT.durableStore, text);
    }
    removeLock(file, holder);
  }
  throw new OperatingError(EXIT.durableStore, `lock ${file}: other processes take it at the same time`);
}

/** Who has the lock `file`; undefined: nobody any more. */
function holderOf(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    const text = `lock ${file}: ${code}. If no trainer writes this run, remove it`;
    throw new OperatingError(EXIT.durableStore, text, { cause });
  }
}

/**
 * Removes the lock of the dead `holder`. Of many that found it dead one at a time may look again and remove: else the lock
 * that the first of them has by now would be removed by the second.
 */
function removeLock(file: string, holder: string): void {
  const done = takeLock(`${file}.takeover`);
  try {
    if (holderOf(file) === holder) unlink(file);
  } finally {
    done();
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

/** True when the holder was a process of this host that does not run any more. */
function isDead(holder: string): boolean {
  const [host, pid, birth] = holder.split(' ');
  if (host !== hostname()) return false;
  if (Number(pid) === process.pid) return holder !== own;
  // Where it is not known when the process began, it is taken for the same.
  return !isAlive(Number(pid)) || (birthOf(Number(pid)) ?? birth) !== birth;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When process `pid` began: the machine's boot and the clock tick. Undefined where the system does not say. */
function birthOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The 22nd field. The second is the program's name in parentheses, which may hold anything.
    return `${boot}/${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return undefined;
  }
}
