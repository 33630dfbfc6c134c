/** A replica state as bytes: what a joiner fetches instead of replaying the log. */
import { Snapshot } from '../proto/gen/onebyte.ts';
import { usageError } from '../proto/operating-error.ts';
import { bytesOf, type ReplicaState, replicaDigest } from './replica.ts';

export function encodeSnapshot(state: ReplicaState): Uint8Array {
  const { round, v, vMax, exponents, window } = state.normaliser;
  return Snapshot.encode({
    round,
    theta: Buffer.from(bytesOf(state.theta)),
    v,
    vMax,
    exponents: [...exponents],
    window: [...window],
    sha256: replicaDigest(state),
  }).finish();
}

/**
 * The state in `bytes`, checked against its own digest.
 * @param elements d, the adapter elements expected
 * @throws OperatingError when the bytes are not a snapshot of such a replica
 */
export function decodeSnapshot(bytes: Uint8Array, elements: number): ReplicaState {
  const snapshot = Snapshot.decode(bytes);
  if (snapshot.theta.length !== 4 * elements)
    throw usageError(`snapshot holds ${snapshot.theta.length / 4} adapter elements, expected ${elements}`);
  const theta = new Float32Array(Uint8Array.from(snapshot.theta).buffer);
  const { round, v, vMax, exponents, window } = snapshot;
  const state: ReplicaState = { theta, normaliser: { round, v, vMax, exponents, window } };
  if (Buffer.compare(replicaDigest(state), snapshot.sha256) !== 0)
    throw usageError(`snapshot after ${round} records: its digest does not match its content`);
  return state;
}
