/** What waits for peers that do not read: counted for a connection, and for all of them. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import type { Listener, Peer } from '../../../platform/listener.ts';
import { type JoinCall, JoinStreams } from '../../../trainer/transport/join-streams.ts';
import { SERVICE_LIMITS, type ServiceLimits } from '../../../trainer/transport/service-limits.ts';

/** Streams of `peers`, numbered from 1, none of which reads before `read` is called, and the connections that were closed. */
function streamsOf(peers: readonly Peer[], limits: Partial<ServiceLimits>) {
  const dropped: Peer[] = [];
  const handlers = { onMessage: () => {}, onClosed: () => {} };
  const listener = { drop: (peer: Peer) => dropped.push(peer), hold: () => () => {} } as Partial<Listener> as Listener;
  const streams = new JoinStreams({ ...SERVICE_LIMITS, ...limits }, handlers, () => listener);
  const unread: (() => void)[] = [];
  const calls: EventEmitter[] = [];
  for (const peer of peers) {
    const call = Object.assign(new EventEmitter(), {
      getPeer: () => peer,
      write: (_bytes: Buffer, done: () => void) => unread.push(done),
      resume: () => {},
      end: () => {},
    });
    calls.push(call);
    streams.add(call as unknown as JoinCall);
  }
  const read = (): void => {
    for (const done of unread.splice(0)) done();
  };
  return { streams, calls, dropped, read };
}

const bytes = Buffer.alloc(600);

describe('bytes that wait for a peer to read them', () => {
  it('are counted for all streams of a connection', () => {
    const { streams, dropped, read } = streamsOf(['a:1', 'a:1', 'a:2'], { backlogBytes: 1000 });
    for (const stream of [1, 3]) streams.send(stream, bytes);
    read();
    for (const stream of [1, 3]) streams.send(stream, bytes);
    assert.deepEqual(dropped, []);
    streams.send(2, bytes);
    assert.deepEqual(dropped, ['a:1']);
  });

  it('are counted after the peer has ended their stream, until they are read', () => {
    const { streams, calls, dropped, read } = streamsOf(['a:1', 'a:1', 'a:1', 'a:1'], { backlogBytes: 1000 });
    for (const stream of [1, 2]) {
      streams.send(stream, bytes);
      read();
    }
    streams.send(3, bytes);
    calls[2]!.emit('end');
    assert.deepEqual(dropped, []);
    streams.send(4, bytes);
    assert.deepEqual(dropped, ['a:1']);
  });

  it('are counted for all connections: where they are too many, that with most of them is closed', () => {
    const { streams, dropped } = streamsOf(['a:1', 'b:1', 'c:1'], { backlogBytesOfAll: 2000 });
    for (const stream of [1, 2, 2, 3]) streams.send(stream, bytes);
    assert.deepEqual(dropped, ['b:1']);
    for (const stream of [2, 1]) streams.send(stream, bytes);
    assert.deepEqual(dropped, ['b:1']);
  });
});
