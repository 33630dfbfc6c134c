/** What `--adapter` names. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ADAPTER_FILE, readPeftAdapter } from '../formats/peft-adapter.ts';
import type { BaseModel } from '../model/base-model.ts';
import { usageError } from '../proto/operating-error.ts';
import { checkpointProblem, isCheckpoint, newestCheckpoint } from '../trainer/store/checkpoint.ts';
import { toStderr } from './command.ts';

export const ADAPTER_HELP = 'PEFT directory, or the checkpoints/ of a run: its newest whole one';

/** The adapter of `base` that `path` names. @throws OperatingError usage: it is damaged, or of another model */
export const namedAdapter = async (path: string, { linearModules }: BaseModel) =>
  readPeftAdapter(await adapterDirectory(path), linearModules);

/**
 * The PEFT directory that `path` names: itself, or the newest checkpoint in it whose files are as its manifest says.
 * @throws OperatingError usage: a checkpoint is damaged
 */
export async function adapterDirectory(path: string): Promise<string> {
  if (isCheckpoint(path)) {
    const problem = await checkpointProblem(path);
    if (problem)
      throw usageError(
        `checkpoint ${path}: damaged (${problem}). Take another of the run, or remove its manifest.json if the change is yours`,
      );
    return path;
  }
  const newest = existsSync(join(path, ADAPTER_FILE)) ? undefined : await newestCheckpoint(path);
  if (newest === undefined) return path;
  toStderr(`adapter ${newest}`);
  return newest;
}
