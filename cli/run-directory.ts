/** Run directories: an existing one is never written over, and what a run was started with holds when it goes on. */
import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseRunConfig } from '../proto/run-config.ts';
import type { RunFile } from '../settings/run-file.ts';
import { roundLogFile } from '../trainer/store/open-run.ts';
import { readRoundLog } from '../trainer/store/round-log.ts';

const isTaken = (directory: string): boolean => existsSync(directory) && readdirSync(directory).length > 0;

/** `wanted`, or the first of wanted-2, wanted-3, … that is not in use; says so when it is another. Absolute. */
export function freshDirectory(wanted: string, say: (text: string) => void): string {
  let directory = resolve(wanted);
  for (let i = 2; isTaken(directory); i++) directory = resolve(`${wanted}-${i}`);
  if (directory !== resolve(wanted)) say(`${wanted} exists: this run goes to ${directory}`);
  return directory;
}

/** `run` with the keys that default to `rounds` and `workers` fixed: as the run in `directory` was started, if there is one. */
export async function settle(run: RunFile, directory: string): Promise<RunFile> {
  const file = roundLogFile(directory);
  const started = existsSync(file) ? parseRunConfig((await readRoundLog(file)).header.runConfig, file) : undefined;
  const decayRounds = run.learning.decayRounds ?? started?.learning.decayRounds ?? run.rounds;
  const directionStripes = run.learning.directionStripes ?? started?.learning.directionStripes;
  const shards = run.data.shards ?? started?.data.shards ?? run.workers;
  return { ...run, learning: { ...run.learning, decayRounds, directionStripes }, data: { ...run.data, shards } };
}
