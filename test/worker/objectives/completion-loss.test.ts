/** How an evaluation is cut into forward passes. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Example } from '../../../data/dataset.ts';
import type { Forward } from '../../../model/runtime/forward.ts';
import { completionRow } from '../../../model/token-row.ts';
import { completionLoss } from '../../../worker/objectives/completion-loss.ts';

it('an evaluation of 500 rows with two options is one pass on CUDA, and passes of 64 rows elsewhere', async () => {
  const rows = [2, 3].map((id) => completionRow([1, id], 1));
  const example = { options: rows, right: 1, classified: true } as unknown as Example;
  const passesOn = async (provider: string): Promise<number[]> => {
    const passes: number[] = [];
    const losses: Forward['losses'] = async (rows) => {
      passes.push(rows.length);
      return Float64Array.from(rows, ({ ids }) => ids[1]!);
    };
    const forward = { chosen: { provider }, losses } as unknown as Forward;
    const results = await completionLoss.evaluate(forward, new Array(500).fill(example), undefined);
    assert.deepEqual(results.at(-1), { nll: 3, tokens: 1, optionNll: [2, 3], correct: false });
    return passes;
  };
  assert.deepEqual(await passesOn('cuda'), [1000]);
  assert.deepEqual(await passesOn('cpu'), [...new Array(15).fill(64), 40]);
});
