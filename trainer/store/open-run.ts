/** Opens a run directory: a new round log, or the one that is there and the replica it gives. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend } from '../../kernels/backend.ts';
import type { ReplicaState } from '../../kernels/replica.ts';
import { isDirectory, makeDirectories } from '../../platform/make-directories.ts';
import type { LogFrame } from '../../proto/gen/onebyte.ts';
import { usageError } from '../../proto/operating-error.ts';
import {
  canonicalJson,
  comparable,
  parseRunConfig,
  type RunConfig,
  runConfigDifferences,
} from '../../proto/run-config.ts';
import { forgetBest } from './checkpoint.ts';
import { type Lock, takeLock } from './lock-file.ts';
import { replayLog } from './replay.ts';
import {
  createRoundLog,
  LOG_FORMAT,
  type LogContents,
  type RoundLog,
  readRoundLog,
  recordsOf,
  reopenRoundLog,
  rewriteRoundLog,
} from './round-log.ts';

export const roundLogFile = (directory: string): string => join(directory, 'round.log');
export const checkpointsOf = (directory: string): string => join(directory, 'checkpoints');

export interface OpenRun {
  readonly log: RoundLog;
  /** Of the log. Whoever restores a trainer of them empties this: in a long run they take more memory than all else. */
  readonly frames: LogFrame[];
  readonly replica: ReplicaState;
  /** A and B of all modules at round 0. */
  readonly matrices: Float32Array;
  /** Bytes of a frame that was not written whole, cut off. */
  readonly tornBytes: number;
  /** Let it go once the log is closed. */
  readonly lock: Lock;
  /** Secret of the run. */
  readonly runSecret: Buffer;
}

/**
 * Opens the run in `directory`.
 * @param initialAdapter all matrices, float32 little endian, when the run continues an adapter; else empty
 * @param resume go on with the log if one is there; otherwise there must be none
 * @param say told when this waits for another process that had the run
 * @param signal aborted: waits no longer
 */
export async function openRun(
  directory: string,
  config: RunConfig,
  initialAdapter: Buffer,
  resume: boolean,
  backend: Backend,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<OpenRun> {
  makeDirectories(directory);
  // Said before the first checkpoint is made.
  isDirectory(checkpointsOf(directory));
  const lock = await takeLock(join(directory, 'trainer.lock'), say, signal);
  try {
    return { ...(await openLocked(directory, config, initialAdapter, resume, backend)), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function openLocked(
  directory: string,
  config: RunConfig,
  initialAdapter: Buffer,
  resume: boolean,
  backend: Backend,
): Promise<Omit<OpenRun, 'lock'>> {
  const file = roundLogFile(directory);
  const exists = existsSync(file);
  if (exists && !resume) throw usageError(`${file} exists: use --resume to go on, or another directory`);
  if (!exists) {
    const header = {
      format: LOG_FORMAT,
      runConfig: canonicalJson(config),
      matrices: initialAdapter,
      runSecret: randomBytes(32),
    };
    // What lies there is of another run that had this directory.
    await forgetBest(checkpointsOf(directory));
    const log = await createRoundLog(file, header);
    const { replica, matrices } = await replayLog({ header, frames: [], validBytes: 0, tornBytes: 0 }, backend);
    return { log, frames: [], tornBytes: 0, runSecret: header.runSecret, replica, matrices };
  }
  const before = await readRoundLog(file);
  refuseOtherRun(file, before, config);
  const runConfig = canonicalJson(config);
  const isChanged = runConfig !== before.header.runConfig;
  const contents = isChanged
    ? await rewriteRoundLog(file, { ...before, header: { ...before.header, runConfig } })
    : before;
  const { replica, matrices } = await replayLog(contents, backend);
  const log = await reopenRoundLog(file, contents);
  const { frames, tornBytes, header } = contents;
  return { log, frames: [...frames], replica, matrices, tornBytes, runSecret: header.runSecret ?? Buffer.alloc(0) };
}

/** How the learning rate falls from the next record on may change; all records so far were made as the log says. */
function refuseOtherRun(file: string, { header, frames }: LogContents, config: RunConfig): void {
  if (header.runConfig === canonicalJson(config)) return;
  const started = parseRunConfig(header.runConfig, file);
  const rounds = recordsOf(frames).length;
  const soFar = ({ learning, ...rest }: RunConfig): RunConfig => {
    const { decayChanges = [], ...others } = learning;
    return { ...rest, learning: { ...others, decayChanges: decayChanges.filter(([from]) => from < rounds) } };
  };
  const plain = (each: RunConfig): unknown => JSON.parse(canonicalJson(each));
  const theirs = soFar(started);
  const differences = runConfigDifferences(plain(comparable(soFar(config), theirs)), plain(theirs));
  if (differences.length === 0) return;
  throw usageError(`--resume: the run file is not the one of ${file}:\n  ${differences.join('\n  ')}`);
}
