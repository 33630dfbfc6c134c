/** Sends snapshots in chunks, few at once, to peers that read them. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { addressOf, type Listener, type Peer } from '../../platform/listener.ts';
import type { GetSnapshotRequest, SnapshotChunk } from '../../proto/gen/onebyte.ts';
import { SNAPSHOT_CHUNK_BYTES } from '../../proto/limits.ts';
import { type Allowances, takeOne } from '../core/allowance.ts';
import { exhausted, INTERNAL } from './grpc-status.ts';
import type { ServiceLimits } from './service-limits.ts';

type SnapshotCall = ServerWritableStream<GetSnapshotRequest, SnapshotChunk>;

/**
 * Snapshots begun over one connection of workers, over all of one address, and over those of one address without a worker: to begin one
 * takes a turn of the trainer and a copy of a chunk. After a restart all workers may ask, and all may share an address.
 */
const OF_CONNECTION = { atOnce: 64, perSecond: 4 };
const OF_ADDRESS = { atOnce: 2048, perSecond: 64 };
const OF_STRANGERS = { atOnce: 64, perSecond: 4 };

interface Sending {
  readonly peer: Peer;
  readonly address: string;
}

/**
 * A handler of GetSnapshot that sends what `snapshot` gives. It never rejects: what goes wrong is the call's status. A worker has said
 * hello before it asks: where all places are taken the oldest call of a connection without one makes room.
 * @param listener whose connections the calls come over; that of a peer that does not read is closed
 */
export function snapshotSender(
  limits: ServiceLimits,
  snapshot: () => Promise<Uint8Array>,
  listener: () => Pick<Listener, 'isHeld' | 'drop'>,
  nowMs: () => number = () => performance.now(),
): (call: SnapshotCall) => Promise<void> {
  /** Oldest first. */
  const active = new Set<Sending>();
  const allowances: Allowances = new Map();

  /** Why `one` has to come again; undefined: there is room. */
  const refusal = ({ peer, address }: Sending): string | undefined => {
    const { isHeld, drop } = listener();
    const of = (is: (one: Sending) => boolean): Sending[] => [...active].filter(is);
    if (of((one) => one.peer === peer).length >= limits.snapshotsPerConnection)
      return `${limits.snapshotsPerConnection} snapshots are being sent on this connection; come again`;
    const ofWorkers = [
      [`connection ${peer}`, OF_CONNECTION],
      [`workers ${address}`, OF_ADDRESS],
    ] as const;
    const askers = isHeld(peer) ? ofWorkers : ([[`strangers ${address}`, OF_STRANGERS]] as const);
    if (!takeOne(allowances, askers, nowMs())) return `too many snapshots for ${address}; come again`;
    const isAddressFull = of((one) => one.address === address).length >= limits.snapshotsPerAddress;
    if (!isAddressFull && active.size < limits.snapshots) return undefined;
    const [oldest] = of((one) => !isHeld(one.peer) && (!isAddressFull || one.address === address));
    if (!oldest) return `${active.size} snapshots are being sent; come again`;
    for (const one of of(({ peer: other }) => other === oldest.peer)) active.delete(one);
    drop(oldest.peer);
    return undefined;
  };

  return async (call) => {
    const peer = call.getPeer();
    const one: Sending = { peer, address: addressOf(peer) };
    const why = refusal(one);
    if (why !== undefined) {
      call.emit('error', exhausted(why));
      return;
    }
    active.add(one);
    try {
      const { buffer, byteOffset, byteLength } = await snapshot();
      const bytes = Buffer.from(buffer, byteOffset, byteLength);
      for (let at = 0; at < bytes.length && !call.cancelled; at += SNAPSHOT_CHUNK_BYTES) {
        const data = bytes.subarray(at, at + SNAPSHOT_CHUNK_BYTES);
        if (!(await taken(call, { data }, limits.snapshotStallMs))) {
          listener().drop(peer);
          return;
        }
      }
      call.end();
    } catch {
      call.emit('error', INTERNAL);
    } finally {
      active.delete(one);
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
