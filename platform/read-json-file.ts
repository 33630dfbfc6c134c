/** A text or JSON file of the user's, read within a bound. */
import { usageError } from '../proto/operating-error.ts';
import { readRegular } from './regular-file.ts';

/**
 * The value in `file`, UTF-8 with or without a byte order mark.
 * @param maxBytes a larger file is refused before it is read
 * @throws OperatingError (usage) that names the file where it cannot be read, is no regular file, is too large or is not JSON
 */
export function readJsonFile(file: string, maxBytes: number): unknown {
  const text = readTextFile(file, maxBytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usageError(`${file}: not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** As readJsonFile, before it is parsed. @param keepsMark a byte order mark is part of the text, as Python has it */
export function readTextFile(file: string, maxBytes: number, { keepsMark = false } = {}): string {
  const bytes = readRegular(file, maxBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: keepsMark }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw usageError(`${file}: not valid UTF-8`, { cause: error });
    throw error;
  }
}
