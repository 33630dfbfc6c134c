/** What a contribution costs on the wire, read off the serialized message by hand. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { WorkerMessage } from '../../proto/gen/onebyte.ts';

for (const directions of [1, 8, 64, 256, 2048])
  it(`a contribution of ${directions} directions carries exactly ${directions} payload bytes`, () => {
    const gradientBytes = Buffer.alloc(directions, 0x42);
    const value = { measuredRound: 1000, firstDirection: 3 * directions, gradientBytes };
    const message = WorkerMessage.encode({ message: { $case: 'contribution', value } }).finish();
    // Field 3 (gradient_bytes), wire type 2, is the last of the message: tag 26, the length as a varint, the bytes.
    const length = directions < 128 ? [directions] : [(directions & 127) | 128, directions >> 7];
    const tail = [26, ...length, ...gradientBytes];
    assert.deepEqual([...message.subarray(-tail.length)], tail);
    assert(message.length - directions <= 14, `${message.length - directions} bytes around the payload`);
  });
