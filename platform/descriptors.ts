/** How many more files and sockets this process may open: what peers may take of them is decided where they connect. */
import { readdirSync, readFileSync } from 'node:fs';
import { usageError } from '../proto/operating-error.ts';

/** Where the system does not say: what most give a process, and about what one of ours has open. */
const USUAL = { limit: 1024, open: 64 };
/** With fewer a process cannot do its work beside a few connections. */
const LEAST = 128;

export const MORE_DESCRIPTORS = 'raise it (ulimit -n, LimitNOFILE, --ulimit nofile)';

/** Node.js raises the soft limit to the hard one as it starts. @throws OperatingError usage: too few are left */
export function freeDescriptors(limitsFile = '/proc/self/limits', openFiles = '/proc/self/fd'): number {
  const limit = unlessUnread(() => limitIn(readFileSync(limitsFile, 'utf8'))) ?? USUAL.limit;
  const open = unlessUnread(() => readdirSync(openFiles).length) ?? USUAL.open;
  const free = limit - open;
  if (free < LEAST)
    throw usageError(
      `this process may have ${limit} files and connections open at once and has ${open}, expected ${LEAST} more: ${MORE_DESCRIPTORS}`,
    );
  return free;
}

function limitIn(limits: string): number | undefined {
  const soft = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft === undefined ? undefined : Number(soft);
}

function unlessUnread<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
