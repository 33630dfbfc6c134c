/** What each of many who ask may have, and for how many that is remembered. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Allowances, takeOne } from '../../../trainer/core/allowance.ts';

describe('an allowance', () => {
  const rate = { atOnce: 2, perSecond: 1 };
  /** How many of `times` askings got one. */
  const take = (allowances: Allowances, asker: string, times: number, atMs: number): number =>
    Array.from({ length: times }, () => takeOne(allowances, [[asker, rate]], atMs)).filter(Boolean).length;

  it('is so much at once, however long nothing was asked for', () => {
    const allowances: Allowances = new Map();
    assert.deepEqual([take(allowances, 'a', 5, 0), take(allowances, 'a', 5, 1_000_000)], [2, 2]);
  });

  it('is remembered for 4,096 askers; beyond, that of the one longest unused is forgotten', () => {
    const allowances: Allowances = new Map();
    for (const asker of ['busy', 'idle']) take(allowances, asker, 2, 0);
    assert.equal(take(allowances, 'busy', 2, 1_000), 1);
    for (let i = 0; i < 4_095; i++) take(allowances, `new ${i}`, 1, 1_000);
    assert.deepEqual(
      ['busy', 'idle'].map((asker) => take(allowances, asker, 2, 1_000)),
      [0, 2],
    );
  });
});
