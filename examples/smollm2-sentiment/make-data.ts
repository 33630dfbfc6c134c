/** make-data.ts: writes train.jsonl, dev.jsonl and test.jsonl beside this file. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { jsonLines, type Sentence, splitSentences } from './split.ts';

const sentences: Sentence[] = createRequire(import.meta.url)('sentiment/test/fixtures/imdb.json');
for (const [part, rows] of Object.entries(splitSentences(sentences))) {
  writeFileSync(new URL(`${part}.jsonl`, import.meta.url), jsonLines(rows));
  console.log(`${part}.jsonl: ${rows.length} rows`);
}
