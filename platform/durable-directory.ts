/** A directory that appears whole or not at all. */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { usageError } from '../proto/operating-error.ts';
import { makeDirectories, syncPath } from './make-directories.ts';

/**
 * Makes `directory`: `fill` writes into a temporary one beside it, which is synced and renamed. Parents are made.
 * `fill` syncs the files. Where it throws, nothing is left.
 * @throws OperatingError (usage) where `directory` exists; what `fill` throws
 */
export function makeDirectory(directory: string, fill: (temporary: string) => void): void {
  const target = resolve(directory);
  if (existsSync(target))
    throw usageError(`${directory}: exists already, and nothing is overwritten; choose another name`);
  const parent = dirname(target);
  const temporary = join(parent, `.${basename(target)}.${process.pid}.partial`);
  makeDirectories(parent);
  // A process of this id may have been killed here: in a container ids are used again.
  rmSync(temporary, { recursive: true, force: true });
  makeDirectories(temporary);
  try {
    fill(temporary);
    syncPath(temporary);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
  syncPath(parent);
}
