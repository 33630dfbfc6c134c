/** The lines of a text file, one at a time and within a bound. */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { usageError } from '../proto/operating-error.ts';
import { openRegular } from './regular-file.ts';

export interface Line {
  /** From 1; blank lines count. */
  readonly number: number;
  /** Without its end and without a byte order mark; blank only where blank lines are asked for. */
  readonly text: string;
  /** The end was CRLF; else it was LF, or that of the file. */
  readonly crlf: boolean;
  /** Bytes of the file up to its end, that included; all of the file for a last line without one. */
  readonly end: number;
}

export interface LineOptions {
  /** Longest line that is read. Default 16 MiB. */
  readonly maxBytes?: number;
  /** A last line without an end was not written whole: it is left out. */
  readonly onlyWhole?: boolean;
  /** Blank lines are given too. */
  readonly blank?: boolean;
}

const CHUNK_BYTES = 2 ** 16;

/**
 * The lines of `file` that are not blank, UTF-8: those that it held when it was opened.
 * @throws OperatingError (usage) that names the file and the line
 */
export function* readLines(
  file: string,
  { maxBytes = 2 ** 24, onlyWhole = false, blank = false }: LineOptions = {},
): Generator<Line> {
  let number = 0;
  for (const { bytes, end } of rawLines(file, maxBytes, onlyWhole)) {
    number++;
    const whole = decode(file, number, bytes);
    const crlf = whole.endsWith('\r');
    const text = crlf ? whole.slice(0, -1) : whole;
    if (blank || text.trim() !== '') yield { number, text, crlf, end };
  }
}

function decode(file: string, number: number, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: number > 1 }).decode(bytes);
  } catch (error) {
    throw usageError(`${file}:${number}: not valid UTF-8`, { cause: error });
  }
}

function* rawLines(file: string, maxBytes: number, onlyWhole: boolean): Generator<{ bytes: Uint8Array; end: number }> {
  const fd = openRegular(file);
  try {
    const chunk = new Uint8Array(CHUNK_BYTES);
    let line: Buffer[] = [];
    let lineBytes = 0;
    let lines = 0;
    let position = 0;
    for (const { size } = fstatSync(fd); position < size; ) {
      const read = readSync(fd, chunk, 0, Math.min(CHUNK_BYTES, size - position), position);
      if (read === 0) break;
      for (let start = 0; start < read; ) {
        const newline = chunk.subarray(0, read).indexOf(10, start);
        const end = newline < 0 ? read : newline;
        lineBytes += end - start;
        if (lineBytes > maxBytes) throw usageError(`${file}:${lines + 1}: a line of more than ${maxBytes} bytes`);
        line.push(Buffer.from(chunk.subarray(start, end)));
        start = end + 1;
        if (newline < 0) break;
        yield { bytes: Buffer.concat(line), end: position + start };
        lines++;
        line = [];
        lineBytes = 0;
      }
      position += read;
    }
    if (lineBytes > 0 && !onlyWhole) yield { bytes: Buffer.concat(line), end: position };
  } finally {
    closeSync(fd);
  }
}

/** @throws OperatingError (usage): `file` cannot be read */
export const checkReadable = (file: string): void => closeSync(openRegular(file));
