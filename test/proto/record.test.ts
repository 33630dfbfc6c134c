/** A record's columns: what they hold comes back as rows, they are small, and columns that do not fit are refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Record, WorkerMessage } from '../../proto/gen/onebyte.ts';
import { MAX_DIRECTION_INDEX, MAX_WORKER_MESSAGE_BYTES } from '../../proto/limits.ts';
import { entriesOf, type RecordEntry, recordOf } from '../../proto/record.ts';

const entry = (worker: number, staleness = 0, firstDirection = 0, directions = 4): RecordEntry => ({
  worker,
  staleness,
  firstDirection,
  gradientBytes: Buffer.from(Array.from({ length: directions }, (_, i) => worker + 16 * i)),
});
const sent = (record: Record): Record => Record.decode(Record.encode(record).finish());

describe('a record', () => {
  it('gives back the contributions it was made of', () => {
    const equal = [[], [entry(7)], [entry(3, 2, 8), entry(0), entry(5, 0, 16)]];
    const unequal = [entry(3, 2, 8, 1024), entry(0, 1, 0, 4), entry(5, 1, 16, 1), entry(6, 0, 0, 2048)];
    for (const entries of [...equal, unequal]) assert.deepEqual(entriesOf(sent(recordOf(9, -3, entries))), entries);
  });

  it('says how many gradient bytes each contribution holds only where the numbers differ', () => {
    assert.deepEqual(recordOf(9, -3, [entry(1), entry(2)]).directions, []);
    assert.deepEqual(recordOf(9, -3, [entry(1), entry(2, 0, 0, 300)]).directions, [4, 300]);
  });

  it('costs little more than its gradient bytes when all are fresh', () => {
    const entries = Array.from({ length: 1_000 }, (_, worker) => entry(worker));
    assert(Record.encode(recordOf(9, -3, entries)).finish().length <= 6 * entries.length);
  });

  it('fits a message to the trainer whatever it holds', () => {
    const entries = Array.from({ length: 8191 }, (_, i) => entry(65_535, 16, MAX_DIRECTION_INDEX - 1, i === 0 ? 2 : 1));
    const given = { ...recordOf(2 ** 31, -60, entries), proof: Buffer.alloc(8) };
    const message = WorkerMessage.encode({ message: { $case: 'recordGiven', value: given } }).finish();
    assert(message.length <= MAX_WORKER_MESSAGE_BYTES, `${message.length} bytes`);
  });

  it('is refused when its columns do not fit each other', () => {
    const record = recordOf(9, -3, [entry(1, 1, 4), entry(2, 0, 4)]);
    const wrongs = [
      { staleness: [1] },
      { firstDirections: [4, 4, 4] },
      { gradientBytes: Buffer.alloc(7) },
      { directions: [8] },
      { directions: [4, 3, 1] },
      { directions: [5, 4] },
    ];
    for (const wrong of [...wrongs, { workers: [], staleness: [], firstDirections: [] }])
      assert.throws(() => entriesOf({ ...record, ...wrong }), /record 9: \d workers, .* do not fit each other/);
  });
});
