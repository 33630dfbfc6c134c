/**
 * Files that others name: opened without waiting, regular ones alone, and read no further than they reached when they were opened.
 * A pipe would block, a device or a file that grows would never end.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { usageError } from '../proto/operating-error.ts';

/**
 * Opens `file` for reading; the caller closes it.
 * @param name what messages call it
 * @throws OperatingError (usage) where it cannot be opened or is no regular file
 */
export function openRegular(file: string, name = file): number {
  let fd: number;
  try {
    // Not blocking: a pipe that nobody writes would hold this call.
    fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    throw unreadable(name, cause);
  }
  const stats = fstatSync(fd);
  if (stats.isFile()) return fd;
  closeSync(fd);
  throw usageError(`${name}: cannot be read: it is ${kindOf(stats)}, expected a regular file`);
}

/**
 * The bytes of `file`.
 * @param maxBytes a larger file is refused before it is read
 * @param name what messages call it
 * @throws OperatingError (usage) where it cannot be read, is no regular file or is too large
 */
export function readRegular(file: string, maxBytes: number, name = file): Buffer {
  const fd = openRegular(file, name);
  try {
    const { size } = fstatSync(fd);
    if (size > maxBytes) throw usageError(`${name}: ${size} bytes, at most ${maxBytes} are allowed`);
    const bytes = Buffer.allocUnsafe(size);
    return bytes.subarray(0, readAt(fd, bytes, 0));
  } catch (cause) {
    throw cause instanceof Error && 'code' in cause ? unreadable(name, cause) : cause;
  } finally {
    closeSync(fd);
  }
}

/**
 * Fills `bytes` with what the open file holds from byte `position` on.
 * @returns how many bytes there were: fewer than asked for where the file ends before
 */
export function readAt(fd: number, bytes: Uint8Array, position: number): number {
  let done = 0;
  for (let read = 1; read > 0 && done < bytes.length; done += read)
    read = readSync(fd, bytes, done, bytes.length - done, position + done);
  return done;
}

const unreadable = (name: string, cause: unknown): Error =>
  usageError(`${name}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause });

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}
