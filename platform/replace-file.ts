/** Files that others read while they are made anew: whole, or as they were. */
import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeDirectories } from './make-directories.ts';

/** Puts what `write` makes under a name of its own in the place of `file`, with the directories that hold it. Not durable. */
export function replaceFile(file: string, write: (unfinished: string) => void): void {
  makeDirectories(dirname(file));
  const unfinished = `${file}.${randomUUID()}`;
  write(unfinished);
  renameSync(unfinished, file);
}
