/** The trainer's gRPC face: turns streams into events and effects into messages. Holds no rule of the run. */
import { createServer, type Socket, type Server as TcpServer } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { splitAddress } from '../proto/address.ts';
import {
  type GetRunConfigRequest,
  type GetRunConfigResponse,
  type GetSnapshotRequest,
  type GetStatusRequest,
  type GetStatusResponse,
  type SnapshotChunk,
  TrainerMessage,
  TrainerService,
  type WorkerMessage,
} from '../proto/gen/onebyte.ts';
import { MAX_WORKER_MESSAGE_BYTES, SNAPSHOT_CHUNK_BYTES } from '../proto/limits.ts';
import { EXIT, OperatingError, usageError } from '../proto/operating-error.ts';
import type { Refusal, StreamId } from './state.ts';

/** Bytes that may wait for a slow reader before its stream is ended. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;

/** gRPC status of each refusal. */
const STATUS: { readonly [refusal in Refusal]: grpc.status } = {
  invalid: grpc.status.INVALID_ARGUMENT,
  config: grpc.status.FAILED_PRECONDITION,
  name: grpc.status.ALREADY_EXISTS,
  full: grpc.status.RESOURCE_EXHAUSTED,
  ahead: grpc.status.FAILED_PRECONDITION,
  deviant: grpc.status.PERMISSION_DENIED,
  replaced: grpc.status.ABORTED,
};

/** What the service needs from the trainer. */
export interface ServiceHandlers {
  onMessage(stream: StreamId, message: WorkerMessage): void;
  onClosed(stream: StreamId): void;
  /** An encoded Snapshot of the trainer's replica. */
  snapshot(): Promise<Uint8Array>;
  runConfig(): string;
  status(): GetStatusResponse;
}

export interface Service {
  /** The bound `host:port`. */
  readonly address: string;
  send(stream: StreamId, message: TrainerMessage): void;
  broadcast(message: TrainerMessage): void;
  refuse(stream: StreamId, refusal: Refusal, text: string): void;
  /** Bytes of all sockets so far, as the trainer sees them: up is received, down is sent. TLS included. */
  wireBytes(): { up: number; down: number };
  /** Ends all streams and waits at most `graceMs` for workers to hang up. */
  close(graceMs: number): Promise<void>;
}

type JoinStream = grpc.ServerDuplexStream<WorkerMessage, Buffer>;

/** Starts listening on `listen` (`host:port`). @throws OperatingError usage: bad address, port in use */
export async function startService(
  listen: string,
  credentials: grpc.ServerCredentials,
  handlers: ServiceHandlers,
): Promise<Service> {
  const streams = new Map<StreamId, JoinStream>();
  let nextStream = 1;
  const join = (call: JoinStream): void => {
    const stream = nextStream++;
    streams.set(stream, call);
    call.on('data', (message: WorkerMessage) => handlers.onMessage(stream, message));
    const closed = (): void => {
      if (streams.delete(stream)) handlers.onClosed(stream);
    };
    for (const end of ['end', 'cancelled', 'error', 'close']) call.on(end, closed);
  };

  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_WORKER_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 1,
  });
  // Records are encoded once for all streams, so the stream's serializer passes bytes through.
  const definition = {
    ...TrainerService,
    join: { ...TrainerService.join, responseSerialize: (bytes: Buffer) => bytes },
  };
  server.addService(definition, {
    join,
    getSnapshot: (call: grpc.ServerWritableStream<GetSnapshotRequest, SnapshotChunk>) =>
      void sendSnapshot(call, handlers),
    getRunConfig: (
      _call: grpc.ServerUnaryCall<GetRunConfigRequest, GetRunConfigResponse>,
      reply: grpc.sendUnaryData<GetRunConfigResponse>,
    ) => reply(null, { runConfig: handlers.runConfig() }),
    getStatus: (
      _call: grpc.ServerUnaryCall<GetStatusRequest, GetStatusResponse>,
      reply: grpc.sendUnaryData<GetStatusResponse>,
    ) => reply(null, handlers.status()),
  });
  const { tcp, address, wireBytes } = await listenCounting(listen, server.createConnectionInjector(credentials));

  const write = (call: JoinStream, bytes: Buffer): void => {
    if (call.writableLength > MAX_BACKLOG_BYTES) endWith(call, grpc.status.RESOURCE_EXHAUSTED, 'reads too slowly');
    else call.write(bytes);
  };
  const encode = (message: TrainerMessage): Buffer => Buffer.from(TrainerMessage.encode(message).finish());
  return {
    address,
    send(stream, message) {
      const call = streams.get(stream);
      if (call) write(call, encode(message));
    },
    broadcast(message) {
      const bytes = encode(message);
      for (const call of streams.values()) write(call, bytes);
    },
    refuse(stream, refusal, text) {
      const call = streams.get(stream);
      if (call) endWith(call, STATUS[refusal], text);
    },
    wireBytes,
    async close(graceMs) {
      for (const call of streams.values()) call.end();
      tcp.close();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      });
      server.forceShutdown();
    },
  };
}

const endWith = (call: JoinStream, code: grpc.status, details: string): void => {
  call.emit('error', { code, details });
};

async function sendSnapshot(
  call: grpc.ServerWritableStream<GetSnapshotRequest, SnapshotChunk>,
  handlers: ServiceHandlers,
): Promise<void> {
  const bytes = Buffer.from(await handlers.snapshot());
  for (let at = 0; at < bytes.length && !call.cancelled; at += SNAPSHOT_CHUNK_BYTES) {
    const more = call.write({ data: bytes.subarray(at, at + SNAPSHOT_CHUNK_BYTES) });
    if (!more) await new Promise<void>((resolve) => call.once('drain', resolve).once('close', resolve));
  }
  call.end();
}

/** A TCP listener of our own before gRPC, so that socket bytes can be counted exactly. */
async function listenCounting(
  listen: string,
  injector: { injectConnection(socket: Socket): void },
): Promise<{ tcp: TcpServer; address: string; wireBytes: Service['wireBytes'] }> {
  const { host, port } = splitAddress(listen);
  const open = new Set<Socket>();
  const closed = { up: 0, down: 0 };
  const tcp = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      open.delete(socket);
      closed.up += socket.bytesRead;
      closed.down += socket.bytesWritten;
    });
    injector.injectConnection(socket);
  });
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(listen, cause)));
    tcp.listen(port, host, resolve);
  });
  const bound = tcp.address();
  if (bound === null || typeof bound === 'string') throw new OperatingError(EXIT.internal, 'no TCP address');
  const address = `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
  const total = (of: (s: Socket) => number, base: number): number => [...open].reduce((sum, s) => sum + of(s), base);
  const wireBytes = () => ({
    up: total((s) => s.bytesRead, closed.up),
    down: total((s) => s.bytesWritten, closed.down),
  });
  return { tcp, address, wireBytes };
}

function listenError(listen: string, cause: NodeJS.ErrnoException): OperatingError {
  const reason = cause.code === 'EADDRINUSE' ? 'the port is in use: choose another, or port 0' : cause.code;
  return usageError(`trainer.listen ${listen}: ${reason}`, { cause });
}
