/** The Join streams of a trainer: each says hello first, once and soon, is read no faster than handled, and reads what it is sent. */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Listener, Peer } from '../../platform/listener.ts';
import type { WorkerMessage } from '../../proto/gen/onebyte.ts';
import type { StreamId } from '../core/state.ts';
import { exhausted, type GrpcStatus, statusOfRefusal, timedOut } from './grpc-status.ts';
import type { ServiceLimits } from './service-limits.ts';

/** Records are encoded once for all streams, so what is written is bytes. */
export type JoinCall = ServerDuplexStream<WorkerMessage, Buffer>;

export interface JoinHandlers {
  /** The caller says `handled(stream)` for each message. `peer`: the other end of its connection, `address:port`. */
  onMessage(stream: StreamId, message: WorkerMessage, peer: Peer): void;
  onClosed(stream: StreamId): void;
}

interface Backlog {
  bytes: number;
}

interface JoinStream {
  readonly id: StreamId;
  readonly call: JoinCall;
  readonly peer: Peer;
  greeted: boolean;
  /** Lets go of its connection; defined once it has a welcome. */
  release: (() => void) | undefined;
  helloTimer: NodeJS.Timeout | undefined;
  unhandled: number;
}

export class JoinStreams {
  private readonly limits: ServiceLimits;
  private readonly handlers: JoinHandlers;
  private readonly listener: () => Listener;
  private readonly open = new Map<StreamId, JoinStream>();
  /** Those without a welcome, oldest first. */
  private readonly strangers = new Set<JoinStream>();
  /** Bytes written that wait to be read, by connection. */
  private readonly backlogs = new Map<Peer, Backlog>();
  private backlogBytes = 0;
  private nextId = 1;

  constructor(limits: ServiceLimits, handlers: JoinHandlers, listener: () => Listener) {
    this.limits = limits;
    this.handlers = handlers;
    this.listener = listener;
  }

  /** Takes a new stream in. */
  add(call: JoinCall): void {
    const id = this.nextId++;
    const stream: JoinStream = {
      id,
      call,
      peer: call.getPeer(),
      greeted: false,
      release: undefined,
      helloTimer: undefined,
      unhandled: 0,
    };
    const [oldest] = this.strangers;
    if (oldest && this.strangers.size >= this.limits.strangers) this.end(oldest, exhausted('too many streams wait'));
    this.open.set(id, stream);
    this.strangers.add(stream);
    const { helloTimeoutMs } = this.limits;
    stream.helloTimer = setTimeout(
      () => this.end(stream, timedOut(`no hello within ${helloTimeoutMs} ms`)),
      helloTimeoutMs,
    ).unref();
    call.on('data', (message: WorkerMessage) => this.onMessage(stream, message));
    for (const end of ['end', 'cancelled', 'error', 'close']) call.on(end, () => this.remove(stream));
    call.on('end', () => call.end());
  }

  /** One message of the stream was handled; reading goes on. */
  handled(id: StreamId): void {
    const stream = this.open.get(id);
    if (!stream) return;
    stream.unhandled--;
    if (stream.call.isPaused() && stream.unhandled < this.limits.unhandledMessages / 2) stream.call.resume();
  }

  /** The stream has a worker number now: broadcasts reach it and its connection may stay. */
  welcome(id: StreamId): void {
    const stream = this.open.get(id);
    if (!stream || stream.release) return;
    this.strangers.delete(stream);
    stream.release = this.listener().hold(stream.peer);
  }

  send(id: StreamId, bytes: Buffer): void {
    const stream = this.open.get(id);
    if (stream) this.write(stream, bytes);
  }

  /** Sends `bytes` to all streams that have a welcome. */
  broadcast(bytes: Buffer): void {
    for (const stream of this.open.values()) if (stream.release) this.write(stream, bytes);
  }

  refuse(id: StreamId, status: GrpcStatus): void {
    const stream = this.open.get(id);
    if (stream) this.end(stream, status);
  }

  /** Ends all streams in good order. */
  endAll(): void {
    for (const { call } of this.open.values()) call.end();
  }

  private onMessage(stream: JoinStream, message: WorkerMessage): void {
    if (!this.open.has(stream.id)) return;
    const isHello = message.message?.$case === 'hello';
    if (isHello === stream.greeted) {
      const text = isHello ? 'a stream says hello once' : 'a stream says hello first';
      this.end(stream, statusOfRefusal('invalid', text));
      return;
    }
    stream.greeted = true;
    clearTimeout(stream.helloTimer);
    if (++stream.unhandled >= this.limits.unhandledMessages) stream.call.pause();
    this.handlers.onMessage(stream.id, message, stream.peer);
  }

  private write(stream: JoinStream, bytes: Buffer): void {
    const { backlogBytes, backlogBytesOfAll } = this.limits;
    const backlog = this.backlogs.get(stream.peer) ?? { bytes: 0 };
    this.backlogs.set(stream.peer, backlog);
    this.count(stream.peer, backlog, bytes.length);
    stream.call.write(bytes, () => this.count(stream.peer, backlog, -bytes.length));
    if (backlog.bytes > backlogBytes) this.drop(stream.peer);
    else if (this.backlogBytes > backlogBytesOfAll) this.drop(this.slowest());
  }

  /** So many bytes more, or fewer, wait for the peer to read them, those of streams that it has ended among them. */
  private count(peer: Peer, backlog: Backlog, bytes: number): void {
    if (this.backlogs.get(peer) !== backlog) return;
    backlog.bytes += bytes;
    this.backlogBytes += bytes;
    if (backlog.bytes === 0) this.backlogs.delete(peer);
  }

  /** The connection on which most waits to be read. */
  private slowest(): Peer {
    const [first, ...others] = this.backlogs;
    return others.reduce((most, one) => (one[1].bytes > most[1].bytes ? one : most), first!)[0];
  }

  /** A peer that does not read loses its connection: ending a stream alone would keep what waits for it in memory. */
  private drop(peer: Peer): void {
    this.backlogBytes -= this.backlogs.get(peer)?.bytes ?? 0;
    this.backlogs.delete(peer);
    for (const stream of this.open.values()) if (stream.peer === peer) this.end(stream, exhausted('reads too slowly'));
    this.listener().drop(peer);
  }

  private end(stream: JoinStream, status: GrpcStatus): void {
    stream.call.emit('error', status);
  }

  private remove(stream: JoinStream): void {
    if (!this.open.delete(stream.id)) return;
    clearTimeout(stream.helloTimer);
    this.strangers.delete(stream);
    stream.release?.();
    stream.call.resume();
    this.handlers.onClosed(stream.id);
  }
}
