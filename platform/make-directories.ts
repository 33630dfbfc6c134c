/** Directories where a user wants them, made with what holds them, and what makes their names durable. */
import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { usageError } from '../proto/operating-error.ts';

/**
 * Makes `path` and what should hold it, unless they are there, durable. Not by the recursive mkdir of Node.js, which in version 20 never comes back
 * from a file system that makes none, as /proc.
 * @throws OperatingError (usage) where none can be; what mkdir throws
 */
export function makeDirectories(path: string): void {
  if (isDirectory(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectories(parent);
  try {
    mkdirSync(path);
  } catch (cause) {
    // Another process may have been faster.
    if (isDirectory(path)) return;
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw usageError(`${path}: ${parent} takes no directories; name another one`, { cause });
  }
  syncPath(parent);
}

/** Makes a file, or the names in a directory, durable: those of one that this user may read, on a file system that syncs directories. */
export function syncPath(path: string): void {
  try {
    const fd = openSync(path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!['EACCES', 'EINVAL'].includes(code!) || !statSync(path).isDirectory()) throw error;
  }
}

/** Whether a directory is at `path`. @throws OperatingError (usage) where that, or what should hold it, is something else */
export function isDirectory(path: string): boolean {
  const parent = dirname(path);
  if (parent !== path && !isDirectory(parent)) return false;
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats && !stats.isDirectory()) throw usageError(`${path}: is no directory; move it away, or name another one`);
  return stats !== undefined;
}
