/** Small splits of the example: to evaluate a whole one takes seconds of a core, which few tests are about. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tinyReviews } from './onebyte.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** The first `rows` rows of a split of tiny-reviews, in a file of their own. @returns its path */
export function firstRows(split: 'dev' | 'test', rows: number): string {
  const file = join(temporaryDirectory(), `${split}.jsonl`);
  const all = readFileSync(join(tinyReviews, `${split}.jsonl`), 'utf8').split('\n');
  writeFileSync(file, all.slice(0, rows).join('\n'));
  return file;
}
