import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { jsonLines, type Sentence, splitSentences } from '../../examples/smollm2-sentiment/split.ts';

const sentences: Sentence[] = createRequire(import.meta.url)('sentiment/test/fixtures/imdb.json');

test('the split is the one that the figures were measured on', () => {
  const sums = Object.entries(splitSentences(sentences)).map(([part, rows]) => [
    part,
    createHash('sha256').update(jsonLines(rows)).digest('hex'),
  ]);
  // node --import tsx examples/smollm2-sentiment/make-data.ts && sha256sum examples/smollm2-sentiment/*.jsonl
  assert.deepEqual(Object.fromEntries(sums), {
    train: 'fc488e171f2a648e9a3f1b61c4392cc42d3df2e5f84eb975626c21b09cbc478a',
    dev: 'e5beaa42e3e0232e56aef971cb51e9cf684b08bbcd65f8e7664b86c6ac4b3488',
    test: '5bd0ba812b6ec3953ab29237c859960e71400e904ad4b194c72adf56d4dcbee8',
  });
});

test('every part of the split is balanced', () => {
  const { train, dev, test } = splitSentences(sentences);
  const positive = [train, dev, test].map((rows) => rows.filter(({ label }) => label === 1).length);
  assert.deepEqual([train.length, dev.length, test.length, ...positive], [400, 100, 500, 200, 50, 250]);
});

test('no sentence is on two sides, also one that occurs twice', () => {
  const parts = Object.values(splitSentences(sentences)).map((rows) => new Set(rows.map(({ prompt }) => prompt)));
  const together = new Set(parts.flatMap((prompts) => [...prompts]));
  assert.equal(
    parts.reduce((sum, prompts) => sum + prompts.size, 0),
    together.size,
  );
  assert.equal(together.size, 997);
});

test('the order of the fixture does not matter', () => {
  assert.deepEqual(splitSentences([...sentences].reverse()), splitSentences(sentences));
});
