/** Snapshots for many readers: those of one round share its bytes, which are let go with the last of them. */
import type { ReplicaState } from '../../kernels/replica.ts';
import { encodeSnapshot } from '../../kernels/snapshot.ts';

export function sharedSnapshots(): (replica: ReplicaState) => Uint8Array {
  let last: { readonly of: ReplicaState; readonly bytes: WeakRef<ArrayBufferLike> } | undefined;
  return (replica) => {
    const shared = last?.of === replica ? last.bytes.deref() : undefined;
    const bytes = shared ? new Uint8Array(shared) : encodeSnapshot(replica);
    last = { of: replica, bytes: new WeakRef(bytes.buffer) };
    return bytes;
  };
}
