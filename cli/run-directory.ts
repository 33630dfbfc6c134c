/** Run directories: an existing one is never written over, and what a run was started with holds when it goes on. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { isDirectory } from '../platform/make-directories.ts';
import { usageError } from '../proto/operating-error.ts';
import { parseRunConfig, type RunConfig } from '../proto/run-config.ts';
import { type RunFile, type SettledRunFile, settled } from '../settings/run-file.ts';
import { roundLogFile } from '../trainer/store/open-run.ts';
import { readRoundLog, recordsOf } from '../trainer/store/round-log.ts';

/** Logs alone are what a start left that came to nothing. */
const isTaken = (directory: string): boolean =>
  isDirectory(directory) && readdirSync(directory).some((name) => name !== 'logs');

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
 * @throws OperatingError (usage): `--out` names a directory in use, and `--resume` is not given, or something else than a directory
 */
export function runDirectory({ flag, ofFile, resume }: WantedDirectory, say: (text: string) => void): string {
  const wanted = flag ?? ofFile;
  if (wanted === '') throw usageError('--out: an empty name; name a directory');
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

/** A run file with all that is fixed by the run in its directory, if there is one. */
export interface StartedRun {
  readonly run: SettledRunFile;
  readonly decayChanges: RunConfig['learning']['decayChanges'];
}

/**
 * `run` with the keys that default to `rounds` and `workers` fixed: as the run in `directory` was started, if there is one.
 * @param decayRounds from the next record on; undefined: as before
 */
export async function settle(run: RunFile, directory: string, decayRounds?: number): Promise<StartedRun> {
  const file = roundLogFile(directory);
  if (!existsSync(file)) {
    const learning = { ...run.learning, decayRounds: decayRounds ?? run.learning.decayRounds };
    return { run: settled({ ...run, learning }, undefined), decayChanges: undefined };
  }
  const { header, frames } = await readRoundLog(file);
  const started = parseRunConfig(header.runConfig, file);
  const rounds = recordsOf(frames).length;
  return { run: settled(run, started), decayChanges: changed(started.learning, rounds, decayRounds) };
}

/** A trainer that is killed and started again with the same flags changes nothing more. */
function changed({ decayRounds, decayChanges }: RunConfig['learning'], round: number, wanted: number | undefined) {
  const current = decayChanges?.at(-1)?.[1] ?? decayRounds;
  if (wanted === undefined || wanted === current) return decayChanges;
  return [...(decayChanges ?? []).filter(([from]) => from < round), [round, wanted] satisfies [number, number]];
}

/** Writes the run's own run file: from any place, it says again what ran here, and that it ran here. */
export const writeRunFile = (run: RunFile, directory: string): void =>
  writeFileSync(join(directory, 'run.yaml'), stringify({ ...run, out: directory }));
