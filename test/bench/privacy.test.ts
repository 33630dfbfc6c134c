import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchPrivacy } from '../../bench/privacy.ts';

test('a budget is measured with as many rows a worker as were asked for', async () => {
  const [example, small] = ['examples/tiny-reviews', { directions: 2, rounds: 1, rows: 2, seeds: 1 }];
  const measured = await benchPrivacy({ example, ...small, shard: 10, epsilon: [4] });
  assert.deepEqual([measured.example, measured.rows[0]!.shard], ['tiny-reviews', 10]);
});
