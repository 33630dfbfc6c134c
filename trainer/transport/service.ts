/** The trainer's gRPC face: turns streams into events and effects into messages. Holds no rule of the run. */
import * as grpc from '@grpc/grpc-js';
import { isLoopback } from '../../platform/address.ts';
import { freeDescriptors } from '../../platform/descriptors.ts';
import { addressOf, type Listener, type Peer, startListener } from '../../platform/listener.ts';
import {
  type GetRunConfigRequest,
  type GetRunConfigResponse,
  type GetSnapshotRequest,
  type GetStatusRequest,
  type GetStatusResponse,
  type SnapshotChunk,
  TrainerMessage,
  TrainerService,
} from '../../proto/gen/onebyte.ts';
import { JOIN_TOKEN_KEY, sameToken } from '../../proto/join-token.ts';
import { MAX_WORKER_MESSAGE_BYTES } from '../../proto/limits.ts';
import type { Refusal, StreamId } from '../core/state.ts';
import { INTERNAL, statusOfRefusal, UNAUTHENTICATED } from './grpc-status.ts';
import { type JoinCall, type JoinHandlers, JoinStreams } from './join-streams.ts';
import { type ServiceLimits, serviceLimitsFor } from './service-limits.ts';
import { snapshotSender } from './snapshot-sender.ts';

/** A shutdown that takes longer says what it waits for, ms. */
const SAY_AFTER_MS = 2_000;

/** Who may speak with the trainer. */
export interface ServiceAccess {
  readonly credentials: grpc.ServerCredentials;
  /** What every call must carry; undefined: nothing. */
  readonly joinToken: string | undefined;
  /** Who connects has shown a certificate of the run's authority. */
  readonly showsCertificate?: boolean;
}

/** What the service needs from the trainer. */
export interface ServiceHandlers extends JoinHandlers {
  /** An encoded Snapshot of the trainer's replica. */
  snapshot(): Promise<Uint8Array>;
  runConfig(): string;
  /** How the run stands, with the names of its members. */
  status(): GetStatusResponse;
}

export interface Service {
  /** The bound `host:port`. */
  readonly address: string;
  send(stream: StreamId, message: TrainerMessage): void;
  /** To all streams that have a welcome. */
  broadcast(message: TrainerMessage): void;
  refuse(stream: StreamId, refusal: Refusal, text: string): void;
  /** A message of the stream was dealt with: the next may be read. */
  handled(stream: StreamId): void;
  /** Bytes of all sockets so far, as the trainer sees them: up is received, down is sent. TLS included. */
  wireBytes(): { up: number; down: number };
  /** Ends all streams and waits at most `graceMs` for workers to read what was said, and to hang up. @param say told when that takes long */
  close(graceMs: number, say?: (reason: string) => void): Promise<void>;
}

/** Starts listening on `listen` (`host:port`). @throws OperatingError usage: bad address, port in use, too few descriptors */
export async function startService(
  listen: string,
  access: ServiceAccess,
  handlers: ServiceHandlers,
  limits: ServiceLimits = serviceLimitsFor(freeDescriptors()),
): Promise<Service> {
  const { credentials, joinToken } = access;
  let listener: Listener | undefined;
  const streams = new JoinStreams(limits, handlers, () => listener!);
  const server = new grpc.Server(serverOptions(limits, joinToken));
  // Records are encoded once for all streams, so the stream's serializer passes bytes through.
  const definition = {
    ...TrainerService,
    join: { ...TrainerService.join, responseSerialize: (bytes: Buffer) => bytes },
  };
  const sendSnapshot = snapshotSender(
    limits,
    () => handlers.snapshot(),
    () => listener!,
  );
  server.addService(definition, {
    join: (call: JoinCall) => streams.add(call),
    getSnapshot: (call: grpc.ServerWritableStream<GetSnapshotRequest, SnapshotChunk>) => void sendSnapshot(call),
    getRunConfig: answer<GetRunConfigRequest, GetRunConfigResponse>(() => ({ runConfig: handlers.runConfig() })),
    getStatus: answer<GetStatusRequest, GetStatusResponse>((call) =>
      isStranger(access, call.getPeer()) ? withoutNames(handlers.status()) : handlers.status(),
    ),
  });
  const injector = server.createConnectionInjector(credentials);
  listener = await startListener(listen, 'trainer.listen', limits, (socket) => injector.injectConnection(socket));
  return {
    address: listener.address,
    send(stream, message) {
      if (message.message?.$case === 'welcome') streams.welcome(stream);
      streams.send(stream, encode(message));
    },
    broadcast: (message) => streams.broadcast(encode(message)),
    refuse: (stream, refusal, text) => streams.refuse(stream, statusOfRefusal(refusal, text)),
    handled: (stream) => streams.handled(stream),
    wireBytes: () => listener.wireBytes(),
    async close(graceMs, say = () => {}) {
      streams.endAll();
      listener.close();
      await shutDown(server, graceMs, say);
      listener.dropAll();
    },
  };
}

/** Somebody of whom nothing is known but an address that is not this machine's. */
const isStranger = ({ joinToken, showsCertificate }: ServiceAccess, peer: Peer): boolean =>
  joinToken === undefined && !showsCertificate && !isLoopback(addressOf(peer));

/** With a name one could try to take its number. */
const withoutNames = (status: GetStatusResponse): GetStatusResponse => ({
  ...status,
  text: '',
  members: status.members.map((member) => ({ ...member, name: '' })),
});

function encode(message: TrainerMessage): Buffer {
  const { buffer, byteOffset, byteLength } = TrainerMessage.encode(message).finish();
  return Buffer.from(buffer, byteOffset, byteLength);
}

function serverOptions(limits: ServiceLimits, joinToken: string | undefined): grpc.ServerOptions {
  return {
    'grpc.max_receive_message_length': MAX_WORKER_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': limits.callsPerConnection,
    'grpc.keepalive_time_ms': limits.keepaliveMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc-node.max_session_memory': limits.sessionMemoryMib,
    'grpc.enable_channelz': 0,
    interceptors: joinToken === undefined ? [] : [requireToken(joinToken)],
  };
}

/** Ends every call without the token before anything of it is read. */
const requireToken =
  (joinToken: string): grpc.ServerInterceptor =>
  (_method, call) =>
    new grpc.ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, accept) {
            const given = metadata.get(JOIN_TOKEN_KEY);
            if (given.length === 1 && sameToken(String(given[0]), joinToken)) accept(metadata);
            else call.sendStatus(UNAUTHENTICATED);
          },
        }),
    });

/** A unary handler that turns what `make` throws into a status. */
const answer =
  <Request, Response>(
    make: (call: grpc.ServerUnaryCall<Request, Response>) => Response,
  ): grpc.handleUnaryCall<Request, Response> =>
  (call, reply) => {
    let response: Response;
    try {
      response = make(call);
    } catch {
      reply(INTERNAL);
      return;
    }
    reply(null, response);
  };

async function shutDown(server: grpc.Server, graceMs: number, say: (reason: string) => void): Promise<void> {
  const reason = `stays until all workers have read the last records, at most ${graceMs / 1000} s`;
  const timers = [setTimeout(say, SAY_AFTER_MS, reason)];
  await new Promise<void>((resolve) => {
    timers.push(setTimeout(resolve, graceMs));
    server.tryShutdown(() => resolve());
  });
  for (const timer of timers) clearTimeout(timer);
  server.forceShutdown();
}
