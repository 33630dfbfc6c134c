/** Which connections a listener keeps, whom it drops for whom, and what it counts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { splitAddress } from '../../platform/address.ts';
import { type Deferred, deferred } from '../../platform/deferred.ts';
import { addressOf, type ConnectionLimits, startListener } from '../../platform/listener.ts';

const PLENTY: ConnectionLimits = { connections: 100, connectionsPerAddress: 100, idleConnectionMs: 60_000 };

/** A listener, and peers that come to it. */
async function listening(test: TestContext, limits: Partial<ConnectionLimits>) {
  const arrivals = new Map<number, Deferred<Socket>>();
  const arrival = (port: number): Deferred<Socket> => {
    if (!arrivals.has(port)) arrivals.set(port, deferred());
    return arrivals.get(port)!;
  };
  const listener = await startListener('127.0.0.1:0', 'here', { ...PLENTY, ...limits }, (socket) =>
    arrival(socket.remotePort!).resolve(socket.resume()),
  );
  const { host, port } = splitAddress(listener.address);
  const clients: Socket[] = [];
  test.after(() => {
    listener.close();
    listener.dropAll();
    for (const client of clients) client.destroy();
  });
  return {
    listener,
    /** Resolves once the peer is taken or turned away. */
    async come(localAddress = '127.0.0.1') {
      const client = connect({ host, port, localAddress })
        .on('error', () => {})
        .resume();
      clients.push(client);
      const closed = new Promise<undefined>((resolve) => client.once('close', () => resolve(undefined)));
      await once(client, 'connect');
      const { localPort } = client;
      const socket = await Promise.race([arrival(localPort!).promise, closed]);
      return { client, socket, peer: `${localAddress}:${localPort}`, isOpen: () => socket?.destroyed === false };
    },
  };
}

const open = (peers: readonly { isOpen(): boolean }[]): boolean[] => peers.map(({ isOpen }) => isOpen());

describe('a listener', () => {
  it('has a newcomer take the place of the oldest that nothing holds, of its own address where that has its share', {
    skip: process.platform !== 'linux' && 'other systems have one loopback address',
  }, async (test) => {
    const { listener, come } = await listening(test, { connections: 3, connectionsPerAddress: 2 });
    const b = await come('127.0.0.2');
    const a1 = await come();
    const a2 = await come();
    assert.deepEqual(open([b, a1, a2]), [true, true, true]);
    const a3 = await come();
    assert.deepEqual(open([b, a1, a2, a3]), [true, false, true, true], 'its own oldest');
    const c = await come('127.0.0.3');
    assert.deepEqual(open([b, a2, a3, c]), [false, true, true, true], 'the oldest of all');
    const releases = [a2, a3, a3].map(({ peer }) => listener.hold(peer));
    assert.deepEqual(open([await come(), a2, a3, c]), [false, true, true, true], 'none of its own gives way');
    listener.hold(c.peer);
    releases[2]!();
    assert.deepEqual(open([await come('127.0.0.4'), a2, a3, c]), [false, true, true, true], 'all are held');
    releases[1]!();
    const d = await come('127.0.0.4');
    assert.deepEqual(open([d, a2, a3, c]), [true, true, false, true]);
    assert.deepEqual(
      [a2, d, b].map(({ peer }) => listener.isHeld(peer)),
      [true, false, false],
    );
  });

  it('counts those of an address that are open, and no others', async (test) => {
    const { listener, come } = await listening(test, { connectionsPerAddress: 2 });
    const peers = [await come(), await come(), await come(), await come()];
    assert.deepEqual(open(peers), [false, false, true, true]);
    listener.drop(peers[2]!.peer);
    await once(peers[2]!.client, 'close');
    assert.deepEqual(open([peers[3]!, await come()]), [true, true]);
  });

  it('never has more than it may, however many come at once', async (test) => {
    const { come } = await listening(test, { connections: 2 });
    const peers = await Promise.all(Array.from({ length: 20 }, () => come()));
    assert.deepEqual(open(peers).filter(Boolean).length, 2);
  });

  it('makes no room by a connection that was closed while something held it', async (test) => {
    const { listener, come } = await listening(test, { connections: 1 });
    const first = await come();
    const release = listener.hold(first.peer);
    listener.drop(first.peer);
    await once(first.socket!, 'close');
    release();
    const second = await come();
    assert.deepEqual(open([await come(), second]), [true, false]);
  });

  it('closes a connection that nothing holds after a time, which begins anew when it is let go', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] });
    const { listener, come } = await listening(test, { idleConnectionMs: 100 });
    const [idle, held] = [await come(), await come()];
    const release = listener.hold(held.peer);
    test.mock.timers.tick(100);
    assert.deepEqual(open([idle, held]), [false, true]);
    release();
    test.mock.timers.tick(99);
    assert(held.isOpen());
    test.mock.timers.tick(1);
    assert(!held.isOpen());
  });

  it('counts the bytes of connections that are open, and of those that were', async (test) => {
    const { listener, come } = await listening(test, {});
    const [gone, stays] = [await come(), await come()];
    gone.client.end('12345');
    await once(gone.socket!, 'close');
    stays.client.write('12');
    await once(stays.socket!, 'data');
    stays.socket!.write('123');
    await once(stays.client, 'data');
    assert.deepEqual(listener.wireBytes(), { up: 7, down: 3 });
    listener.drop(stays.peer);
    await once(stays.client, 'close');
    assert.deepEqual(listener.wireBytes(), { up: 7, down: 3 });
  });

  it('that closes leaves those that have spoken, and takes nobody in', async (test) => {
    const { listener, come } = await listening(test, {});
    const [silent, speaker] = [await come(), await come()];
    speaker.client.write('x');
    await once(speaker.socket!, 'data');
    listener.close();
    assert.deepEqual(open([silent, speaker]), [false, true]);
    await assert.rejects(come(), { code: 'ECONNREFUSED' });
    listener.dropAll();
    assert(!speaker.isOpen());
  });
});

it('knows an address of IPv4 by one form, whatever socket took the connection', () =>
  assert.deepEqual(['::ffff:10.0.0.5:80', '10.0.0.5:80', '::1:80'].map(addressOf), ['10.0.0.5', '10.0.0.5', '::1']));
