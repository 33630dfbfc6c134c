/**
 * make-data.ts [imdb | yelp | amazon] [DIR]: writes train.jsonl, dev.jsonl and test.jsonl. Default: imdb, into the folder of this file.
 * All three are fixtures of the npm package `sentiment`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { jsonLines, type Sentence, splitSentences } from './split.ts';

const [source = 'imdb', directory = import.meta.dirname] = process.argv.slice(2);
if (!['imdb', 'yelp', 'amazon'].includes(source)) {
  console.error(`make-data.ts ${source}: expected imdb, yelp or amazon`);
  process.exit(2);
}
const sentences: Sentence[] = createRequire(import.meta.url)(`sentiment/test/fixtures/${source}.json`);
mkdirSync(directory, { recursive: true });
for (const [part, rows] of Object.entries(splitSentences(sentences))) {
  writeFileSync(join(directory, `${part}.jsonl`), jsonLines(rows));
  console.log(`${part}.jsonl: ${rows.length} rows`);
}
