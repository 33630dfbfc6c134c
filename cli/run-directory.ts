/** Names of run directories: an existing one is never written over. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Log } from './log.ts';

/** `wanted`, or the first of wanted-2, wanted-3, … that does not exist; says so when it is another. Absolute. */
export function freshDirectory(wanted: string, log: Pick<Log, 'info'>): string {
  let directory = resolve(wanted);
  for (let i = 2; existsSync(directory); i++) directory = resolve(`${wanted}-${i}`);
  if (directory !== resolve(wanted)) log.info({ directory }, `${wanted} exists: this run goes to ${directory}`);
  return directory;
}
