/** What a worker's message is to the core. */

import { addressOf, type Peer } from '../../platform/listener.ts';
import type { WorkerMessage } from '../../proto/gen/onebyte.ts';
import type { Event, Origin, StreamId } from '../core/state.ts';

/** A connection is one source port of one address. */
const originOf = (peer: Peer): Origin => ({ connection: peer, address: addressOf(peer) });

/** Nothing where the message is of a kind that this version does not know. */
export function eventOf(
  stream: StreamId,
  peer: Peer,
  message: WorkerMessage['message'],
  atMs: number,
): Event | undefined {
  switch (message?.$case) {
    case 'hello':
      return { kind: 'hello', atMs, stream, origin: originOf(peer), hello: message.value };
    case 'contribution':
      return { kind: 'contribution', atMs, stream, contribution: message.value };
    case 'evaluation':
      return { kind: 'evaluation', atMs, stream, counts: message.value };
    case 'recordGiven':
      return { kind: 'recordGiven', atMs, stream, record: message.value };
    case 'digest':
      return { kind: 'digest', atMs, stream, digest: message.value };
    case 'leave':
      return { kind: 'leave', atMs, stream, reason: message.value.reason };
    case 'heartbeat':
      return { kind: 'heartbeat', atMs, stream, heartbeat: message.value };
    default:
      return undefined;
  }
}
