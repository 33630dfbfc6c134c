/** The TCP listener of a gRPC server. It stands before gRPC so that socket bytes are counted exactly and connections bounded. */
import { createServer, type Socket } from 'node:net';
import { joinAddress } from '../../platform/address.ts';
import { listen } from './listen.ts';
import type { ServiceLimits } from './service-limits.ts';

/** What a listener heeds of the limits. */
export type ConnectionLimits = Pick<ServiceLimits, 'connections' | 'connectionsPerAddress' | 'idleConnectionMs'>;

/** A connection's other end as `address:port`, in the form that gRPC gives for a call. */
export type Peer = string;

/** The address of a peer; that of IPv4 where a socket of IPv6 took the connection. */
export const addressOf = (peer: Peer): string => peer.slice(0, peer.lastIndexOf(':')).replace(/^::ffff:/, '');

export interface Listener {
  /** The bound `host:port`. */
  readonly address: string;
  /** Bytes of all sockets so far: up is received, down is sent. TLS included. */
  wireBytes(): { up: number; down: number };
  /** A worker joined on the peer's connection, which may stay as long as the worker. @returns to call when it is gone */
  hold(peer: Peer): () => void;
  /** Whether a worker joined on the peer's connection and is there. */
  hasWorker(peer: Peer): boolean;
  /** Closes the peer's connection at once. */
  drop(peer: Peer): void;
  /** Takes no more connections, and closes those on which nobody has said anything: an HTTP/2 session would wait for them. */
  close(): void;
  /** Closes those that are open, whatever state they are in. */
  dropAll(): void;
}

interface Connection {
  readonly socket: Socket;
  readonly peer: Peer;
  readonly address: string;
  /** Workers on it. */
  workers: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Listens on `address` (`host:port`) and hands every connection to `accept`.
 * @param what names it in errors
 * @throws OperatingError usage: bad address, port in use
 */
export async function startListener(
  address: string,
  what: string,
  limits: ConnectionLimits,
  accept: (socket: Socket) => void,
): Promise<Listener> {
  const connections = new Connections(limits);
  const tcp = createServer({ noDelay: true }, (socket) => {
    if (connections.add(socket)) accept(socket);
  });
  const bound = await listen(tcp, address, what);
  return {
    address: joinAddress(bound.address, bound.port),
    wireBytes: () => connections.wireBytes(),
    hold: (peer) => connections.hold(peer),
    hasWorker: (peer) => connections.hasWorker(peer),
    drop: (peer) => connections.drop(peer),
    close() {
      tcp.close();
      connections.dropSilent();
    },
    dropAll: () => connections.dropAll(),
  };
}

class Connections {
  private readonly limits: ConnectionLimits;
  private readonly open = new Map<Peer, Connection>();
  private readonly perAddress = new Map<string, number>();
  /** Those without a worker, oldest first. */
  private readonly strangers = new Set<Connection>();
  private readonly closed = { up: 0, down: 0 };

  constructor(limits: ConnectionLimits) {
    this.limits = limits;
  }

  /** False when there is no room: the socket is closed. */
  add(socket: Socket): boolean {
    socket.on('error', () => socket.destroy());
    const { remoteAddress: address, remotePort } = socket;
    if (address === undefined || !this.makeRoom(address)) {
      socket.destroy();
      return false;
    }
    const peer = `${address}:${remotePort}`;
    const connection: Connection = { socket, peer, address, workers: 0, timer: undefined };
    this.open.set(peer, connection);
    this.perAddress.set(address, (this.perAddress.get(address) ?? 0) + 1);
    this.becomeStranger(connection);
    socket.on('close', () => this.remove(connection));
    return true;
  }

  hold(peer: Peer): () => void {
    const connection = this.open.get(peer);
    if (!connection) return () => {};
    connection.workers++;
    clearTimeout(connection.timer);
    this.strangers.delete(connection);
    return () => {
      connection.workers--;
      if (connection.workers === 0 && !connection.socket.destroyed) this.becomeStranger(connection);
    };
  }

  hasWorker(peer: Peer): boolean {
    return (this.open.get(peer)?.workers ?? 0) > 0;
  }

  drop(peer: Peer): void {
    this.open.get(peer)?.socket.destroy();
  }

  dropSilent(): void {
    for (const { socket } of this.open.values()) if (socket.bytesRead === 0) socket.destroy();
  }

  dropAll(): void {
    for (const { socket } of this.open.values()) socket.destroy();
  }

  wireBytes(): { up: number; down: number } {
    let { up, down } = this.closed;
    for (const { socket } of this.open.values()) {
      up += socket.bytesRead;
      down += socket.bytesWritten;
    }
    return { up, down };
  }

  private becomeStranger(connection: Connection): void {
    this.strangers.add(connection);
    connection.timer = setTimeout(() => connection.socket.destroy(), this.limits.idleConnectionMs).unref();
  }

  private makeRoom(address: string): boolean {
    const addressFull = (this.perAddress.get(address) ?? 0) >= this.limits.connectionsPerAddress;
    if (!addressFull && this.open.size < this.limits.connections) return true;
    for (const stranger of this.strangers) {
      if (addressFull && stranger.address !== address) continue;
      this.remove(stranger);
      stranger.socket.destroy();
      return true;
    }
    return false;
  }

  private remove(connection: Connection): void {
    if (this.open.get(connection.peer) !== connection) return;
    this.open.delete(connection.peer);
    this.strangers.delete(connection);
    clearTimeout(connection.timer);
    const others = this.perAddress.get(connection.address)! - 1;
    if (others > 0) this.perAddress.set(connection.address, others);
    else this.perAddress.delete(connection.address);
    this.closed.up += connection.socket.bytesRead;
    this.closed.down += connection.socket.bytesWritten;
  }
}
