/** The standard gRPC health service on a plaintext port of its own: what Kubernetes probes ask. It tells nothing else. */
import type { Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { type ConnectionLimits, startListener } from '../platform/listener.ts';

/** The service name to ask for readiness; the empty name answers for liveness. */
export const READY_SERVICE = 'ready';

/** A probe asks on a connection of its own and hangs up. One more takes the place of the oldest, so that the port takes no descriptors from the run. */
const LIMITS: ConnectionLimits = { connections: 32, connectionsPerAddress: 32, idleConnectionMs: 60_000 };

export interface Health {
  /** The bound `host:port`; undefined where nobody asked for a health service. */
  readonly address: string | undefined;
  /** Whether this process does its part of the run now. */
  ready(is: boolean): void;
  close(): void;
}

/** Runs `action` with a health service on `listen` that is not ready yet, and never again once `drain` is aborted. */
export async function withHealth<Result>(
  listen: string | undefined,
  drain: AbortSignal,
  action: (health: Health) => Promise<Result>,
): Promise<Result> {
  const health = await startHealth(listen);
  drain.addEventListener('abort', () => health.ready(false));
  try {
    return await action({ ...health, ready: (is) => health.ready(is && !drain.aborted) });
  } finally {
    health.close();
  }
}

/** Starts the health service on `listen` (`host:port`), not ready yet. @throws OperatingError usage: bad address, port in use */
export async function startHealth(listen: string | undefined): Promise<Health> {
  if (listen === undefined) return { address: undefined, ready: () => {}, close: () => {} };
  // Few processes are asked for it, and it takes a while to load.
  const { HealthImplementation } = await import('grpc-health-check');
  const health = new HealthImplementation({ '': 'SERVING', [READY_SERVICE]: 'NOT_SERVING' });
  const server = new grpc.Server({ 'grpc.max_receive_message_length': 4096, 'grpc.max_concurrent_streams': 16 });
  health.addToServer(server);
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const accept = (socket: Socket): void => injector.injectConnection(socket);
  const listener = await startListener(listen, '--health', LIMITS, accept);
  return {
    address: listener.address,
    ready: (is) => health.setStatus(READY_SERVICE, is ? 'SERVING' : 'NOT_SERVING'),
    close() {
      listener.close();
      server.forceShutdown();
      listener.dropAll();
    },
  };
}
