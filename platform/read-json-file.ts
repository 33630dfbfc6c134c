/** A text or JSON file of the user's, read within a bound. */
import { usageError } from '../proto/operating-error.ts';
import { readRegular } from './regular-file.ts';

/** Containers inside each other: no file has so many for a reason, and what walks a value, JSON.stringify for one, has a stack for some thousand. */
const MAX_DEPTH = 500;

/** As JSON.parse. @throws SyntaxError, also of a value that is nested deeper than anything that walks it can go */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (isDeeper(value, MAX_DEPTH)) throw new SyntaxError(`nested deeper than ${MAX_DEPTH} lists and objects`);
  return value;
}

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((part) => isDeeper(part, levels - 1)));

/**
 * The value in `file`, UTF-8 with or without a byte order mark.
 * @param maxBytes a larger file is refused before it is read
 * @throws OperatingError (usage) that names the file where it cannot be read, is no regular file, is too large or is not JSON
 */
export function readJsonFile(file: string, maxBytes: number): unknown {
  const text = readTextFile(file, maxBytes);
  try {
    return parseJson(text);
  } catch (error) {
    throw usageError(`${file}: not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * As readJsonFile, before it is parsed.
 * @param keepsMark a byte order mark is part of the text, as Python has it
 * @param name what messages call the file
 */
export function readTextFile(file: string, maxBytes: number, { keepsMark = false, name = file } = {}): string {
  const bytes = readRegular(file, maxBytes, name);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: keepsMark }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw usageError(`${name}: not valid UTF-8`, { cause: error });
    throw error;
  }
}
