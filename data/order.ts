/** Which rows a worker measures when: a pure function of (run seed, worker, position), whatever was missed. */
import { strict as assert } from 'node:assert';
import seedrandom from 'seedrandom';

/** Row `index` (from 0) of a file belongs to shard index mod shards. */
export function inShard(index: number, shard: number, shards: number): boolean {
  assert(Number.isSafeInteger(shard) && shard >= 0 && shard < shards, `shard ${shard} of ${shards}`);
  return index % shards === shard;
}

/** Row numbers, from 0 within the shard, of the minibatch at `position`; a row may occur twice where the shard is small. */
export type DataOrder = (position: number, rows: number) => number[];

/**
 * The order in which `worker` takes its shard of `size` rows; those who share a shard have orders of their own. Rows are shuffled once
 * for every pass; the passes follow each other without end, and the minibatch of `rows` rows at `position` is the part
 * [position · rows, (position + 1) · rows) of that sequence. Remembers two shuffled passes; what it returns depends on the arguments alone.
 */
export function dataOrder(seed: number, worker: number, size: number): DataOrder {
  assert(Number.isSafeInteger(size) && size > 0, `a shard of ${size} rows`);
  const remembered = new Map<number, Uint32Array>();
  const shuffled = (pass: number): Uint32Array => {
    let rows = remembered.get(pass);
    if (rows === undefined) {
      rows = shuffle(size, seedrandom(`${seed}/data/${worker}/${pass}`));
      if (remembered.size === 2) remembered.delete(Math.min(...remembered.keys()));
      remembered.set(pass, rows);
    }
    return rows;
  };
  return (position, rows) => {
    const first = position * rows;
    assert(Number.isSafeInteger(first + rows) && position >= 0 && rows > 0, `position ${position} of ${rows} rows`);
    return Array.from({ length: rows }, (_, i) => shuffled(Math.floor((first + i) / size))[(first + i) % size] ?? 0);
  };
}

/** Fisher and Yates: 0 … size − 1 in an order that `random`, uniform in [0, 1), decides. */
function shuffle(size: number, random: () => number): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  for (let last = size - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const row = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = row;
  }
  return order;
}
