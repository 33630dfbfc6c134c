/** How a process takes an address, and the TCP listener of a gRPC server: it stands before gRPC so that socket bytes are counted exactly and connections bounded. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { usageError } from '../proto/operating-error.ts';
import { joinAddress, splitAddress } from './address.ts';

/** What all peers of a listener may take of it. */
export interface ConnectionLimits {
  /** Connections of all peers; a newcomer beyond it takes the place of the oldest that nothing holds, or is turned away. */
  readonly connections: number;
  /** The same for one address. */
  readonly connectionsPerAddress: number;
  /** How long a connection may stay that nothing holds, ms: also the limit of its TLS handshake. */
  readonly idleConnectionMs: number;
}

/** A connection's other end as `address:port`, in the form that gRPC gives for a call. */
export type Peer = string;

/** The address of a peer; that of IPv4 where a socket of IPv6 took the connection. */
export const addressOf = (peer: Peer): string => peer.slice(0, peer.lastIndexOf(':')).replace(/^::ffff:/, '');

export interface Listener {
  /** The bound `host:port`. */
  readonly address: string;
  /** Bytes of all sockets so far: up is received, down is sent. TLS included. */
  wireBytes(): { up: number; down: number };
  /** The peer's connection may stay until what this returns is called. */
  hold(peer: Peer): () => void;
  /** Whether anything holds the peer's connection. */
  isHeld(peer: Peer): boolean;
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
  /** How many hold it. */
  holders: number;
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
    isHeld: (peer) => connections.isHeld(peer),
    drop: (peer) => connections.drop(peer),
    close() {
      tcp.close();
      connections.dropSilent();
    },
    dropAll: () => connections.dropAll(),
  };
}

/** What the system's codes mean to who chose the address. */
const REASONS: { readonly [code: string]: string } = {
  EADDRINUSE: 'the port is in use: choose another, or port 0',
  EADDRNOTAVAIL: 'no interface of this machine has this address: 0.0.0.0 or [::] listens on all of them',
  EACCES: 'this user may not listen on this port: choose one from 1024 on',
  ENOTFOUND: 'this name has no address here',
};

/** Makes `server` listen on `address` (`host:port`). @param what names it in errors @throws OperatingError usage: bad address, port in use */
export async function listen(server: Server, address: string, what: string): Promise<AddressInfo> {
  const { host, port } = splitAddress(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(usageError(`${what} ${address}: ${REASONS[cause.code!] ?? cause.message}`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  server.on('error', () => {}); // out of descriptors: the connection is lost, those that are open go on
  return server.address() as AddressInfo;
}

class Connections {
  private readonly limits: ConnectionLimits;
  private readonly open = new Map<Peer, Connection>();
  private readonly perAddress = new Map<string, number>();
  /** Those that nothing holds, oldest first. */
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
    const connection: Connection = { socket, peer, address, holders: 0, timer: undefined };
    this.open.set(peer, connection);
    this.perAddress.set(address, (this.perAddress.get(address) ?? 0) + 1);
    this.becomeStranger(connection);
    socket.on('close', () => this.remove(connection));
    return true;
  }

  hold(peer: Peer): () => void {
    const connection = this.open.get(peer);
    if (!connection) return () => {};
    connection.holders++;
    clearTimeout(connection.timer);
    this.strangers.delete(connection);
    return () => {
      connection.holders--;
      if (connection.holders === 0 && !connection.socket.destroyed) this.becomeStranger(connection);
    };
  }

  isHeld(peer: Peer): boolean {
    return (this.open.get(peer)?.holders ?? 0) > 0;
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
