/** One writer of a run directory: a file that names the process that has it. A process that was killed leaves it behind; the next one sees that. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { EXIT, OperatingError } from '../proto/operating-error.ts';

/** Names this process: a process id alone is used again, in a container at once. */
const own = `${hostname()} ${process.pid} ${Math.round(Date.now() / 1000 - process.uptime())}`;

/**
 * Takes the lock `file`. @returns to call when the writer is done
 * @throws OperatingError durableStore: another process has it
 */
export function takeLock(file: string): () => void {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, own, { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== 'EEXIST') throw new OperatingError(EXIT.durableStore, `lock ${file}: ${code}`, { cause });
    }
    const holder = readFileSync(file, 'utf8');
    if (!isStale(holder)) {
      const [host, pid] = holder.split(' ');
      const text = `lock ${file}: process ${pid} on ${host} writes this run. End it first; if it is gone for good, remove the file`;
      throw new OperatingError(EXIT.durableStore, text);
    }
    rmSync(file, { force: true });
  }
  throw new OperatingError(EXIT.durableStore, `lock ${file}: other processes take it at the same time`);
}

/** True when the holder was a process of this host that does not run any more. */
function isStale(holder: string): boolean {
  const [host, pid] = holder.split(' ');
  if (host !== hostname() || holder === own) return false;
  return Number(pid) === process.pid || !isAlive(Number(pid));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
