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
    frozenA: Buffer.from(bytesOf(state.frozenA ?? new Float32Array())),
    sha256: replicaDigest(state),
  }).finish();
}

/**
 * The state in `bytes`, checked against its own digest.
 * @param elements d, the adapter elements expected
 * @param frozenElements those of the frozen A, or 0
 * @throws OperatingError when the bytes are not a snapshot of such a replica
 */
export function decodeSnapshot(bytes: Uint8Array, elements: number, frozenElements = 0): ReplicaState {
  const snapshot = parse(bytes);
  if (snapshot.theta.length !== 4 * elements)
    throw usageError(`snapshot holds ${snapshot.theta.length / 4} adapter elements, expected ${elements}`);
  if (snapshot.frozenA.length !== 4 * frozenElements)
    throw usageError(
      `snapshot holds ${snapshot.frozenA.length / 4} elements of a frozen A, expected ${frozenElements}`,
    );
  const [theta, frozenA] = [snapshot.theta, snapshot.frozenA].map((b) => new Float32Array(Uint8Array.from(b).buffer));
  const { round, v, vMax, exponents, window } = snapshot;
  const normaliser = { round, v, vMax, exponents, window };
  const state: ReplicaState = { theta: theta!, normaliser, frozenA: frozenElements > 0 ? frozenA : undefined };
  if (Buffer.compare(replicaDigest(state), snapshot.sha256) !== 0)
    throw usageError(`snapshot after ${round} records: its digest does not match its content`);
  return state;
}

function parse(bytes: Uint8Array): Snapshot {
  try {
    return Snapshot.decode(bytes);
  } catch (cause) {
    throw usageError(`snapshot of ${bytes.length} bytes: not one (${(cause as Error).message})`, { cause });
  }
}
