/** What one peer, and all of them together, may take of a trainer. Numbers of the protocol itself are in proto/limits.ts. */
import type { ConnectionLimits } from '../../platform/listener.ts';
import { SLOW_LINE_MS } from '../../proto/limits.ts';

/** A connection is held by the workers that joined on it. */
export interface ServiceLimits extends ConnectionLimits {
  /** Calls at once on one connection. */
  readonly callsPerConnection: number;
  /** Join streams without a welcome; one more ends the oldest of them. */
  readonly strangers: number;
  /** How long a join stream may wait before its hello, ms. */
  readonly helloTimeoutMs: number;
  /** Messages of one stream that wait to be handled; then nothing more of it is read. */
  readonly unhandledMessages: number;
  /** Bytes that wait to be read on one connection; then it is closed. */
  readonly backlogBytes: number;
  /** The same for all of them; then the one on which most wait is closed. */
  readonly backlogBytesOfAll: number;
  /** Snapshots sent at once; a newcomer beyond it takes the place of the oldest without a worker, or is turned away. */
  readonly snapshots: number;
  /** The same for one address, and for one connection, on which none makes room. */
  readonly snapshotsPerAddress: number;
  readonly snapshotsPerConnection: number;
  /** How long a peer may take to read one chunk of a snapshot, ms. */
  readonly snapshotStallMs: number;
  /** HTTP/2 memory of one connection, MiB. */
  readonly sessionMemoryMib: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
}

/** Part of the descriptors that are free as a trainer starts listening; the rest is for the dashboard and for files. */
const PART_OF_DESCRIPTORS = 3 / 4;

/** The limits of a process that may open `free` more descriptors: without one left it could write no checkpoint. */
export function serviceLimitsFor(free: number): ServiceLimits {
  const connections = Math.min(SERVICE_LIMITS.connections, Math.floor(free * PART_OF_DESCRIPTORS));
  const connectionsPerAddress = Math.min(SERVICE_LIMITS.connectionsPerAddress, Math.ceil(connections / 2));
  return { ...SERVICE_LIMITS, connections, connectionsPerAddress };
}

/** Where descriptors are plenty. */
export const SERVICE_LIMITS: ServiceLimits = {
  connections: 4096,
  connectionsPerAddress: 2048,
  callsPerConnection: 1024,
  strangers: 4096,
  helloTimeoutMs: 10_000,
  idleConnectionMs: 60_000,
  unhandledMessages: 64,
  backlogBytes: 64 * 1024 * 1024,
  backlogBytesOfAll: 512 * 1024 * 1024,
  snapshots: 64,
  snapshotsPerAddress: 32,
  snapshotsPerConnection: 8,
  snapshotStallMs: SLOW_LINE_MS,
  sessionMemoryMib: 64,
  keepaliveMs: 20_000,
  keepaliveTimeoutMs: SLOW_LINE_MS,
};

/** How long workers may take to hang up after the last word of a trainer that is asked to go, ms: those that did not hear it come to the next. */
export const DRAIN_GRACE_MS = 10_000;
