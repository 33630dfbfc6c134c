/** Data files made for one test. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './temporary-directory.ts';

/** A file of `rows` as JSON lines. */
export function rowsFile(...rows: readonly unknown[]): string {
  const file = join(temporaryDirectory(), 'rows.jsonl');
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}
