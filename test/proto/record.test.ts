/** A record's columns: what they hold comes back as rows, they are small, and columns that do not fit are refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Record } from '../../proto/gen/onebyte.ts';
import { entriesOf, type RecordEntry, recordOf } from '../../proto/record.ts';

const entry = (worker: number, staleness = 0, firstDirection = 0): RecordEntry => ({
  worker,
  staleness,
  firstDirection,
  gradientBytes: Buffer.from([worker, staleness, firstDirection, 0x7e]),
});
const sent = (record: Record): Record => Record.decode(Record.encode(record).finish());

describe('a record', () => {
  it('gives back the contributions it was made of', () => {
    for (const entries of [[], [entry(7)], [entry(3, 2, 8), entry(0), entry(5, 0, 16)]])
      assert.deepEqual(entriesOf(sent(recordOf(9, -3, entries))), entries);
  });

  it('costs little more than its gradient bytes when all are fresh', () => {
    const entries = Array.from({ length: 1_000 }, (_, worker) => entry(worker));
    assert(Record.encode(recordOf(9, -3, entries)).finish().length <= 6 * entries.length);
  });

  it('is refused when its columns do not fit each other', () => {
    const record = recordOf(9, -3, [entry(1, 1, 4), entry(2, 0, 4)]);
    const wrongs = [{ staleness: [1] }, { firstDirections: [4, 4, 4] }, { gradientBytes: Buffer.alloc(7) }];
    for (const wrong of [...wrongs, { workers: [], staleness: [], firstDirections: [] }])
      assert.throws(() => entriesOf({ ...record, ...wrong }), /record 9: \d workers, .* do not fit each other/);
  });
});
