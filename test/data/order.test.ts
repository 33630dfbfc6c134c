/** The order of rows: the same for everybody, each row once per pass. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dataOrder, inShard } from '../../data/order.ts';

describe('the data order', () => {
  it('is this one for seed 0, worker 1 of 7 rows', () => {
    // Made once by this code; a change of it changes every run. The generator is seedrandom 3.0.5.
    assert.deepEqual(
      [0, 1, 2, 3].map((position) => dataOrder(0, 1, 7)(position, 4)),
      [
        [2, 0, 6, 4],
        [3, 5, 1, 3],
        [5, 1, 6, 4],
        [0, 2, 2, 6],
      ],
    );
  });

  it('has every row once in each pass, and passes that differ', () => {
    const order = dataOrder(3, 0, 10);
    const passes = [0, 1, 2].map((pass) => [order(pass * 2, 5), order(pass * 2 + 1, 5)].flat());
    for (const pass of passes)
      assert.deepEqual(
        pass.toSorted((a, b) => a - b),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      );
    assert.equal(new Set(passes.map(String)).size, 3);
  });

  it('is a function of the position alone, whatever was asked before', () => {
    const order = dataOrder(9, 2, 13);
    const forward = Array.from({ length: 50 }, (_, position) => order(position, 4));
    const backward = Array.from({ length: 50 }, (_, i) => order(49 - i, 4)).reverse();
    assert.deepEqual(backward, forward);
    assert.deepEqual(dataOrder(9, 2, 13)(31, 4), forward[31]);
  });

  it('differs between seeds and workers, and far positions are reached at once', () => {
    const first = (seed: number, worker: number) => String(dataOrder(seed, worker, 1000)(0, 20));
    assert.equal(new Set([first(0, 0), first(1, 0), first(0, 1), first(10, 0), first(1, 1)]).size, 5);
    assert.equal(dataOrder(0, 0, 1000)(2 ** 40, 8).length, 8);
  });

  it('goes round in shards smaller than a minibatch', () => {
    const batch = dataOrder(1, 0, 3)(0, 8);
    assert.deepEqual(batch.slice(0, 3).toSorted(), [0, 1, 2]);
    assert.deepEqual(batch.slice(3, 6).toSorted(), [0, 1, 2]);
    assert.deepEqual(dataOrder(1, 0, 1)(5, 2), [0, 0]);
  });

  it('gives every row of a file to one shard', () => {
    for (let row = 0; row < 20; row++) assert.equal([0, 1, 2].filter((shard) => inShard(row, shard, 3)).length, 1);
    assert(inShard(5, 2, 3));
    assert.throws(() => inShard(0, 3, 3), /shard 3 of 3/);
  });
});
