/** The form in which a run config travels and is hashed, and what is told of two that differ. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { canonicalJson, runConfigDifferences } from '../../proto/run-config.ts';

it('equal run configs are one text, in whatever order their keys came', () => {
  const one = { seed: 1, learning: { rows: 4, directions: 8 }, modules: [{ rank: 2, name: 'b' }, { name: 'a' }] };
  const other = { modules: [{ name: 'b', rank: 2 }, { name: 'a' }], learning: { directions: 8, rows: 4 }, seed: 1 };
  const text = '{"learning":{"directions":8,"rows":4},"modules":[{"name":"b","rank":2},{"name":"a"}],"seed":1}';
  assert.deepEqual([canonicalJson(one), canonicalJson(other)], [text, text]);
});

it('of two that differ each key is told with both values', () => {
  const differences = runConfigDifferences(
    { seed: 1, learning: { rows: 4, decayChanges: [[1, 2]] }, same: null },
    { seed: 2, learning: { rows: 4 }, same: null },
  );
  assert.deepEqual(differences, ['learning.decayChanges: [[1,2]] here, undefined there', 'seed: 1 here, 2 there']);
});
