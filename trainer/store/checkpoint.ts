/** Checkpoints: PEFT directories with the replica's numbers beside them. Written whole or not at all. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writePeftAdapter } from '../../formats/peft-adapter.ts';
import { adapterDigest, type ReplicaState, replicaDigest } from '../../kernels/replica.ts';
import { layoutOf, withTrainedPart } from '../../kernels/run-replica.ts';
import { MORE_DESCRIPTORS } from '../../platform/descriptors.ts';
import { makeDirectory } from '../../platform/durable-directory.ts';
import { syncPath } from '../../platform/make-directories.ts';
import { readJsonFile } from '../../platform/read-json-file.ts';
import { readRegular } from '../../platform/regular-file.ts';
import { MAX_SNAPSHOT_BYTES } from '../../proto/limits.ts';
import { storeError } from '../../proto/operating-error.ts';
import type { RunConfig } from '../../proto/run-config.ts';

/** What a checkpoint is made from. */
export interface CheckpointContent {
  readonly config: RunConfig;
  readonly replica: ReplicaState;
  /** A and B of all modules at round 0: what is not trained stays so. */
  readonly matrices: Float32Array;
}

/** Directory name of the checkpoint after `round` records. */
export const checkpointName = (round: number): string => `round-${String(round).padStart(6, '0')}`;

/** The round of the checkpoint called `name`. */
const roundOf = (name: string): number => Number(name.slice('round-'.length));

/** Names of the checkpoints in `parent`, oldest first. From round 1,000,000 on that is not the order of their letters. */
async function checkpointNames(parent: string): Promise<string[]> {
  const names = (await readdir(parent)).filter((name) => /^round-\d+$/.test(name));
  return names.sort((a, b) => roundOf(a) - roundOf(b));
}

/** sha-256 (hex) of the other files. */
const MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 2 ** 16;
/** By file. One that names none would verify whatever is there. */
const Sums = z.record(z.string(), z.string()).refine((sums) => Object.keys(sums).length > 0, 'names no file');
const MAX_STATE_BYTES = 2 ** 24;
/** The replica's numbers beside θ. */
const STATE = 'trainer_state.json';
/** Name of the link to the checkpoint with the best result on the dev split. */
const BEST = 'best';

/** Where the link to the best checkpoint in `parent` is, if there is one. */
export const bestOf = (parent: string): string => join(parent, BEST);

/**
 * Writes `content` as a PEFT directory at `directory`, which must not exist.
 * @param onlyBest it is written because it is the best, and is worth nothing once another one is
 */
export function writePeftCheckpoint(directory: string, content: CheckpointContent, onlyBest = false): void {
  const { config, replica, matrices } = content;
  makeDirectory(directory, (temporary) => {
    writePeftAdapter(temporary, config.adapter, withTrainedPart(layoutOf(config), matrices, replica.theta));
    writeJson(join(temporary, STATE), { ...trainerState(content), ...(onlyBest && { onlyBest }) });
    const names = readdirSync(temporary).sort();
    const sums = names.map((name) => [name, sha256(readFileSync(join(temporary, name)))]);
    writeJson(join(temporary, MANIFEST), Object.fromEntries(sums));
  });
}

const writeJson = (file: string, content: object): void =>
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`, { flush: true });

const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');

/** True when `directory` is a checkpoint of a run, not any other PEFT directory. */
export const isCheckpoint = (directory: string): boolean => existsSync(join(directory, MANIFEST));

/** What is wrong with the checkpoint at `directory`; undefined when every file is as its manifest says. */
export async function checkpointProblem(directory: string): Promise<string | undefined> {
  try {
    const sums = Sums.safeParse(readJsonFile(join(directory, MANIFEST), MAX_MANIFEST_BYTES));
    if (!sums.success) return `${MANIFEST}: ${z.prettifyError(sums.error)}`;
    for (const [name, sum] of Object.entries(sums.data)) {
      // The digest of another file is no stranger's business.
      if (/[/\\]/.test(name))
        return `${MANIFEST}: names ${JSON.stringify(name)}, expected the name of a file of this directory`;
      const found = sha256(readRegular(join(directory, name), MAX_SNAPSHOT_BYTES));
      if (found !== sum) return `${name}: sha-256 ${found}, expected ${sum}`;
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The newest checkpoint in `parent` that verifies; those that do not are passed over. Undefined where there is none. */
export async function newestCheckpoint(parent: string): Promise<string | undefined> {
  const names = await checkpointNames(parent).catch(() => []);
  for (const name of names.reverse()) if (!(await checkpointProblem(join(parent, name)))) return join(parent, name);
  return undefined;
}

/** What STATE holds: floats as hexadecimal bits, so that they read back exactly. */
function trainerState({ replica }: CheckpointContent): object {
  const { round, v, vMax, exponents, window } = replica.normaliser;
  return {
    round,
    adapterDigest: adapterDigest(replica.theta),
    replicaDigest: replicaDigest(replica).toString('hex'),
    v: float64Hex(v),
    vMax: float64Hex(vMax),
    exponents,
    window: window.map(float64Hex),
  };
}

function float64Hex(x: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(x);
  return bytes.toString('hex');
}

/**
 * Writes the checkpoint after `content`'s round into `parent`, unless it is there already, and removes older ones beyond
 * the newest `keep`; the best stays, and those that were no more than the best go. `best`: this one is the best from now on. One process at a time: the lock's holder.
 * @returns the checkpoint's directory
 */
export async function writeCheckpoint(
  parent: string,
  content: CheckpointContent,
  keep: number,
  best: boolean,
): Promise<string> {
  const { round } = content.replica.normaliser;
  const name = checkpointName(round);
  const directory = join(parent, name);
  const isThere = await holdsReplica(directory, content.replica);
  // One that was only the best is kept from now on as any other.
  if (!isThere || (!best && stateOf(directory).onlyBest)) {
    await rm(directory, { recursive: true, force: true });
    try {
      writePeftCheckpoint(directory, content, best);
    } catch (cause) {
      const { message, code } = cause as NodeJS.ErrnoException;
      const advice = code === 'EMFILE' ? `. The limit of this process is too low: ${MORE_DESCRIPTORS}` : '';
      throw storeError(`checkpoint ${directory}: ${message}${advice}`, { cause });
    }
  }
  if (best) {
    const link = join(parent, `.${BEST}.${process.pid}.partial`);
    await rm(link, { force: true });
    await symlink(name, link);
    // A copy that follows links has a directory here, which no link can be renamed to.
    if ((await readlink(bestOf(parent)).catch(() => undefined)) === undefined) await forgetBest(parent);
    await rename(link, bestOf(parent));
    syncPath(parent);
  }
  await prune(parent, keep, round);
  return directory;
}

/** Removes the link to the best checkpoint in `parent`, or what a copy that follows links made of it; the checkpoint stays. */
export const forgetBest = (parent: string): Promise<void> => rm(bestOf(parent), { recursive: true, force: true });

/** True when the best checkpoint in `parent` is that after `round`, and whole. */
export async function isBest(parent: string, round: number): Promise<boolean> {
  const link = await readlink(bestOf(parent)).catch(() => undefined);
  return link === checkpointName(round) && !(await checkpointProblem(join(parent, link)));
}

/** True when `directory` is a whole checkpoint of `replica`. One of another run, or of a log put back since, is none. */
async function holdsReplica(directory: string, replica: ReplicaState): Promise<boolean> {
  if (await checkpointProblem(directory)) return false;
  return stateOf(directory).replicaDigest === replicaDigest(replica).toString('hex');
}

/** What STATE of the checkpoint at `directory` says, if it can be read. */
function stateOf(directory: string): { readonly replicaDigest?: string; readonly onlyBest?: boolean } {
  try {
    return z.looseObject({}).parse(readJsonFile(join(directory, STATE), MAX_STATE_BYTES));
  } catch {
    return {};
  }
}

/** What a process that was killed while it wrote a checkpoint or the link leaves. */
const UNFINISHED = new RegExp(`^\\.(round-\\d+|${BEST})\\.\\d+\\.partial$`);

/** Checkpoints of rounds after `round` are of a log that was put back since: they count for none of this run's. */
async function prune(parent: string, keep: number, round: number): Promise<void> {
  const best = await readlink(bestOf(parent)).catch(() => undefined);
  const names = (await checkpointNames(parent)).filter((name) => roundOf(name) <= round);
  const onlyBest = names.filter((name) => stateOf(join(parent, name)).onlyBest === true);
  const others = names.filter((name) => !onlyBest.includes(name));
  const old = [...others.slice(0, -keep), ...onlyBest].filter((name) => name !== best);
  const unfinished = (await readdir(parent)).filter((name) => UNFINISHED.test(name));
  for (const name of [...old, ...unfinished]) await rm(join(parent, name), { recursive: true });
}
