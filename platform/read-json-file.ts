/** A JSON file of the user's, read within a bound. */
import { usageError } from '../proto/operating-error.ts';
import { readRegular } from './regular-file.ts';

/**
 * The value in `file`, UTF-8 with or without a byte order mark.
 * @param maxBytes a larger file is refused before it is read
 * @throws OperatingError (usage) that names the file where it cannot be read, is no regular file, is too large or is not JSON
 */
export function readJsonFile(file: string, maxBytes: number): unknown {
  const bytes = readRegular(file, maxBytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof SyntaxError) throw usageError(`${file}: not JSON: ${error.message}`, { cause: error });
    if (error instanceof TypeError) throw usageError(`${file}: not valid UTF-8`, { cause: error });
    throw error;
  }
}
