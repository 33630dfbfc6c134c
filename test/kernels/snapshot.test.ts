/** A snapshot is the replica that was encoded, or refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ReplicaState } from '../../kernels/replica.ts';
import { decodeSnapshot, encodeSnapshot } from '../../kernels/snapshot.ts';
import { OperatingError } from '../../proto/operating-error.ts';

const normaliser = { round: 7, v: 0.1, vMax: 0.3, exponents: [-2, 0, 1], window: [0.5, 0.25] };
const replica: ReplicaState = { theta: Float32Array.of(1, -2, 0.1), normaliser, frozenA: undefined };
const continued: ReplicaState = { ...replica, frozenA: Float32Array.of(0.5, 3) };
const refused = (bytes: Uint8Array, elements: number, frozenElements: number) =>
  assert.throws(() => decodeSnapshot(bytes, elements, frozenElements), OperatingError);

describe('a snapshot', () => {
  it('is the replica it was made from, its frozen matrices included', () => {
    assert.deepEqual(decodeSnapshot(encodeSnapshot(replica), 3, 0), replica);
    assert.deepEqual(decodeSnapshot(encodeSnapshot(continued), 3, 2), continued);
  });

  it('of another adapter is refused', () => {
    refused(encodeSnapshot(replica), 4, 0);
    refused(encodeSnapshot(replica), 3, 2);
    refused(encodeSnapshot(continued), 3, 0);
  });

  // The round is no part of the digest: whoever holds the replica says both, and the trainer compares them.
  it('is refused when a byte behind its round is another, or when it is cut short', () => {
    const bytes = encodeSnapshot(continued);
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
      if (at >= 2) refused(changed, 3, 2);
      refused(bytes.subarray(0, at), 3, 2);
    }
  });
});
