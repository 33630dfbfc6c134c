/** Sends snapshots in chunks, few at once, to peers that read them. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { GetSnapshotRequest, SnapshotChunk } from '../../proto/gen/onebyte.ts';
import { SNAPSHOT_CHUNK_BYTES } from '../../proto/limits.ts';
import { exhausted, INTERNAL } from './grpc-status.ts';
import type { Peer } from './listener.ts';
import type { ServiceLimits } from './service-limits.ts';

type SnapshotCall = ServerWritableStream<GetSnapshotRequest, SnapshotChunk>;

/**
 * A handler of GetSnapshot that sends what `snapshot` gives. It never rejects: what goes wrong is the call's status.
 * @param drop closes the connection of a peer that does not read
 */
export function snapshotSender(
  limits: ServiceLimits,
  snapshot: () => Promise<Uint8Array>,
  drop: (peer: Peer) => void,
): (call: SnapshotCall) => Promise<void> {
  let active = 0;
  return async (call) => {
    if (active >= limits.snapshots) {
      call.emit('error', exhausted(`${limits.snapshots} snapshots are being sent; come again`));
      return;
    }
    active++;
    try {
      const { buffer, byteOffset, byteLength } = await snapshot();
      const bytes = Buffer.from(buffer, byteOffset, byteLength);
      for (let at = 0; at < bytes.length && !call.cancelled; at += SNAPSHOT_CHUNK_BYTES) {
        const data = bytes.subarray(at, at + SNAPSHOT_CHUNK_BYTES);
        if (!(await taken(call, { data }, limits.snapshotStallMs))) {
          drop(call.getPeer());
          return;
        }
      }
      call.end();
    } catch {
      call.emit('error', INTERNAL);
    } finally {
      active--;
    }
  };
}

/** True once the chunk is on its way or the peer is gone; false when the peer does not read it. */
const taken = (call: SnapshotCall, chunk: SnapshotChunk, stallMs: number): Promise<boolean> =>
  new Promise((resolve) => {
    const done = (isTaken: boolean): void => {
      clearTimeout(timer);
      call.off('cancelled', onGone);
      resolve(isTaken);
    };
    const onGone = (): void => done(true);
    const timer = setTimeout(() => done(false), stallMs);
    call.once('cancelled', onGone);
    call.write(chunk, () => done(true));
  });
