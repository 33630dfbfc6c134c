/** The round log: the file from which a run can be rebuilt. Appended and fsynced before anybody hears of a record. */
import { closeSync, fstatSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncPath } from '../../platform/make-directories.ts';
import { parseJson } from '../../platform/read-json-file.ts';
import { openRegular, readAt } from '../../platform/regular-file.ts';
import { LogFrame, type LogHeader, type Record } from '../../proto/gen/onebyte.ts';
import { decodeLogFrames, encodeLogFrame, type LogBytes } from '../../proto/log-framing.ts';
import { storeError, usageError } from '../../proto/operating-error.ts';
import { canonicalJson } from '../../proto/run-config.ts';

/** Mode of the file: it holds the run's secret, with which one could come back as any worker. */
const PRIVATE = 0o600;

/**
 * Version of the frames' meaning. Since 3 the contributions of a record may hold different numbers of gradient bytes, and the
 * run config has a `learning.capExponent`; since 4 it has a `learning.winsorise`.
 */
export const LOG_FORMAT = 4;
/** Versions that are read: a log of an older one means today what it meant then. */
const READABLE_FORMATS = [2, 3, LOG_FORMAT];

export interface LogContents {
  readonly header: LogHeader;
  /** All frames after the header. */
  readonly frames: readonly LogFrame[];
  /** Bytes of frames that verify. */
  readonly validBytes: number;
  /** Bytes behind them: a frame that was not written whole. */
  readonly tornBytes: number;
}

export const recordsOf = (frames: readonly LogFrame[]): Record[] =>
  frames.flatMap(({ frame }) => (frame?.$case === 'record' ? [frame.value] : []));

/**
 * Reads a round log whole. A torn tail is left out and counted.
 * @throws OperatingError usage: no such file or not a round log; durableStore: damage before valid records
 */
export async function readRoundLog(file: string): Promise<LogContents> {
  const fd = openRegular(file, `round log ${file}`);
  try {
    return parseRoundLog(bytesOf(fd), file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw usageError(`round log ${file}: cannot be read (${code})`, { cause });
  } finally {
    closeSync(fd);
  }
}

/** What an open file holds now, read where it is looked at: Node.js reads no file of 2 GiB at once. */
function bytesOf(fd: number): LogBytes {
  return {
    length: fstatSync(fd).size,
    subarray(start, end) {
      const bytes = Buffer.allocUnsafe(end - start);
      const cut = start + readAt(fd, bytes, start);
      if (cut < end) throw Object.assign(new Error(`cut at byte ${cut}`), { code: 'EOF' });
      return bytes;
    },
  };
}

/** As readRoundLog, of the bytes of `file`. */
export function parseRoundLog(bytes: LogBytes, file: string): LogContents {
  const { payloads, validBytes, tail } = decodeLogFrames(bytes);
  if (tail.kind === 'damaged')
    throw storeError(
      `round log ${file}: damaged at byte ${tail.position}, with valid frames from byte ${tail.nextValid} on. Restore the file from a copy; cutting it at byte ${tail.position} would lose acknowledged records`,
    );
  const [first, ...frames] = payloads.map((payload, i) => decodePayload(file, payload, i));
  if (first?.frame?.$case !== 'header')
    throw usageError(`round log ${file}: does not begin with a round log header (${bytes.length} bytes)`);
  const header = first.frame.value;
  if (!READABLE_FORMATS.includes(header.format))
    throw usageError(
      `round log ${file}: format ${header.format}, this version reads formats ${READABLE_FORMATS.join(', ')}`,
    );
  if (header.format < LOG_FORMAT) header.runConfig = asOfToday(header, file);
  return { header, frames, validBytes, tornBytes: bytes.length - validBytes };
}

/** The run config of an older log, in canonical JSON, with what were no keys then: in format 2 a step did not grow above the cap. */
function asOfToday({ format, runConfig }: LogHeader, file: string): string {
  let config: { learning?: object } | null;
  try {
    config = parseJson(runConfig) as typeof config;
  } catch (cause) {
    throw usageError(`round log ${file}: its run config is not JSON`, { cause });
  }
  const then = { ...(format === 2 ? { capExponent: 1 } : {}), winsorise: 'byte' };
  return canonicalJson({ ...config, learning: { ...config?.learning, ...then } });
}

function decodePayload(file: string, payload: Buffer, index: number): LogFrame {
  try {
    return LogFrame.decode(payload);
  } catch (cause) {
    throw storeError(`round log ${file}: frame ${index} verifies but cannot be decoded`, { cause });
  }
}

export interface RoundLog {
  /** Resolves once the frames are on disk. After a failure nothing more is appended: an fsync is never retried. */
  append(frames: readonly LogFrame[]): Promise<void>;
  close(): Promise<void>;
}

/** Creates `file` with its header and `frames`: with all or, when this process is killed, not at all. */
export async function createRoundLog(
  file: string,
  header: LogHeader,
  frames: readonly LogFrame[] = [],
): Promise<RoundLog> {
  const unfinished = `${file}.new`;
  const cannot = (cause: NodeJS.ErrnoException): never => {
    throw storeError(`round log ${file}: cannot be created (${cause.code})`, { cause });
  };
  await rm(unfinished, { force: true }).catch(cannot);
  const handle = await open(unfinished, 'wx', PRIVATE).catch(cannot);
  try {
    const log = appender(handle, file, 0);
    await log.append([{ frame: { $case: 'header', value: header } }, ...frames]);
    await rename(unfinished, file).catch(cannot);
    syncPath(dirname(file));
    return log;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Replaces `file` by a log of `contents`: whole or, when this process is killed, not at all. A torn tail is left out. */
export async function rewriteRoundLog(file: string, { header, frames }: LogContents): Promise<LogContents> {
  const log = await createRoundLog(file, header, frames);
  await log.close();
  return readRoundLog(file);
}

/** Opens `file` to go on behind its valid frames; a torn tail is cut off. */
export async function reopenRoundLog(file: string, { validBytes }: LogContents): Promise<RoundLog> {
  const handle = await open(file, 'r+').catch((cause: NodeJS.ErrnoException) => {
    throw storeError(`round log ${file}: cannot be opened for writing (${cause.code})`, { cause });
  });
  // One that another user has, or that another version wrote, stays usable.
  await handle.chmod(PRIVATE).catch(() => {});
  await handle.truncate(validBytes);
  await handle.datasync();
  return appender(handle, file, validBytes);
}

function appender(handle: FileHandle, file: string, position: number): RoundLog {
  let failed = false;
  return {
    async append(frames) {
      if (failed) throw storeError(`round log ${file}: an earlier write failed`);
      const parts: Buffer[] = [];
      let end = position;
      for (const frame of frames) {
        const part = encodeLogFrame(end, LogFrame.encode(frame).finish());
        parts.push(part);
        end += part.length;
      }
      try {
        // A file system that fills up may take a part and report no error.
        const { bytesWritten } = await handle.writev(parts, position);
        if (bytesWritten < end - position) throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
        await handle.datasync();
      } catch (cause) {
        failed = true;
        const { code } = cause as NodeJS.ErrnoException;
        throw storeError(
          `round log ${file}: ${code} at byte ${position}. Nothing after it was acknowledged; make room or repair the disk, then use --resume`,
          { cause },
        );
      }
      if (fstatSync(handle.fd).nlink === 0) {
        failed = true;
        throw storeError(`round log ${file}: it was removed while the run went on; what it held is lost`);
      }
      position = end;
    },
    close: () => handle.close(),
  };
}
