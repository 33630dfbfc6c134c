/** Run directories: an existing one is never written over, and what a run was started with holds when it goes on. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { usageError } from '../proto/operating-error.ts';
import { parseRunConfig } from '../proto/run-config.ts';
import { type RunFile, type SettledRunFile, settled } from '../settings/run-file.ts';
import { roundLogFile } from '../trainer/store/open-run.ts';
import { readRoundLog } from '../trainer/store/round-log.ts';

/** Logs alone are what a start left that came to nothing. */
const isTaken = (directory: string): boolean =>
  existsSync(directory) && readdirSync(directory).some((name) => name !== 'logs');

/** Where a run goes that a command begins, or goes on with. */
export interface WantedDirectory {
  /** `--out`, if it was given. */
  readonly flag: string | undefined;
  /** `out` of the run file. */
  readonly ofFile: string;
  readonly resume: boolean;
}

/**
 * The run directory, absolute. A name that the user gave is that directory or none: a trainer that is started again and forgets
 * `--resume` must not begin another run beside the one its workers are in. Where the run file alone names one that is in use,
 * it is the first of out-2, out-3, … that is not, and that is said.
 * @throws OperatingError (usage): `--out` names a directory in use, and `--resume` is not given
 */
export function runDirectory({ flag, ofFile, resume }: WantedDirectory, say: (text: string) => void): string {
  const wanted = flag ?? ofFile;
  let directory = resolve(wanted);
  if (resume) return directory;
  if (flag !== undefined && isTaken(directory))
    throw usageError(
      `--out ${flag}: exists already; give --resume to go on with the run in it, or name another directory`,
    );
  for (let i = 2; isTaken(directory); i++) directory = resolve(`${wanted}-${i}`);
  if (directory !== resolve(wanted))
    say(`${wanted} exists: this run goes to ${directory} (--resume goes on with the run in ${wanted})`);
  return directory;
}

/** `run` with the keys that default to `rounds` and `workers` fixed: as the run in `directory` was started, if there is one. */
export async function settle(run: RunFile, directory: string): Promise<SettledRunFile> {
  const file = roundLogFile(directory);
  const started = existsSync(file) ? parseRunConfig((await readRoundLog(file)).header.runConfig, file) : undefined;
  return settled(run, started);
}

/** Writes the run's own run file: from any place, it says again what ran here, and that it ran here. */
export const writeRunFile = (run: RunFile, directory: string): void =>
  writeFileSync(join(directory, 'run.yaml'), stringify({ ...run, out: directory }));
