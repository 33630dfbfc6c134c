/** What a stream may say and when, how fast it is read, and what waits for peers that do not read. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { Listener, Peer } from '../../../platform/listener.ts';
import type { WorkerMessage } from '../../../proto/gen/onebyte.ts';
import { type JoinCall, JoinStreams } from '../../../trainer/transport/join-streams.ts';
import { SERVICE_LIMITS, type ServiceLimits } from '../../../trainer/transport/service-limits.ts';

/** Streams of `peers`, numbered from 1, none of which reads before `read` is called, and the connections that were closed. */
function streamsOf(peers: readonly Peer[], limits: Partial<ServiceLimits>) {
  const dropped: Peer[] = [];
  const [heard, closed, ended, sent]: string[][] = [[], [], [], []];
  const held = new Map<Peer, number>();
  const handlers = {
    onMessage: (stream: number, { message }: WorkerMessage) => heard!.push(`${stream} ${message?.$case}`),
    onClosed: (stream: number) => closed!.push(`${stream}`),
  };
  const hold = (peer: Peer) => {
    held.set(peer, (held.get(peer) ?? 0) + 1);
    return () => held.set(peer, held.get(peer)! - 1);
  };
  const listener = { drop: (peer: Peer) => dropped.push(peer), hold } as Partial<Listener> as Listener;
  const streams = new JoinStreams({ ...SERVICE_LIMITS, ...limits }, handlers, () => listener);
  const unread: (() => void)[] = [];
  const calls: (EventEmitter & { isPaused(): boolean })[] = [];
  const come = (peer: Peer): void => {
    let isPaused = false;
    const stream = calls.length + 1;
    const call = Object.assign(new EventEmitter(), {
      getPeer: () => peer,
      write(_bytes: Buffer, done: () => void) {
        sent!.push(`${stream}`);
        unread.push(done);
      },
      pause() {
        isPaused = true;
      },
      resume() {
        isPaused = false;
      },
      isPaused: () => isPaused,
      end: () => sent!.push(`${stream} end`),
    });
    call.on('error', ({ code }: { code: status }) => ended!.push(`${stream} ${status[code]}`));
    calls.push(call);
    streams.add(call as unknown as JoinCall);
  };
  for (const peer of peers) come(peer);
  const read = (): void => {
    for (const done of unread.splice(0)) done();
  };
  const say = (stream: number, $case: 'hello' | 'heartbeat'): void =>
    void calls[stream - 1]!.emit('data', { message: { $case } });
  return { streams, calls, come, say, dropped, heard, closed, ended, sent, held, read };
}

const bytes = Buffer.alloc(600);

describe('a Join stream', () => {
  it('says hello first, and once; where it does not, nothing more of it is heard', () => {
    const { calls, say, heard, closed, ended } = streamsOf(['a:1', 'b:1'], {});
    say(1, 'heartbeat');
    for (const word of ['hello', 'heartbeat', 'hello'] as const) say(2, word);
    for (const stream of [1, 2]) say(stream, 'heartbeat');
    for (const call of calls) call.emit('close');
    assert.deepEqual(heard, ['2 hello', '2 heartbeat']);
    assert.deepEqual(ended, ['1 INVALID_ARGUMENT', '2 INVALID_ARGUMENT']);
    assert.deepEqual(closed, ['1', '2']);
  });

  it('is ended where it says no hello in time', (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] });
    const { calls, say, ended } = streamsOf(['a:1', 'b:1', 'c:1'], {});
    say(1, 'hello');
    calls[1]!.emit('cancelled');
    test.mock.timers.tick(SERVICE_LIMITS.helloTimeoutMs - 1);
    assert.deepEqual(ended, []);
    test.mock.timers.tick(1);
    assert.deepEqual(ended, ['3 DEADLINE_EXCEEDED']);
  });

  it('too many without a welcome ends the oldest of these that is still open', () => {
    const { streams, calls, come, ended } = streamsOf(['a:1', 'a:2', 'a:3'], { strangers: 3 });
    streams.welcome(1);
    come('a:4');
    assert.deepEqual(ended, []);
    come('a:5');
    assert.deepEqual(ended, ['2 RESOURCE_EXHAUSTED']);
    calls[2]!.emit('close');
    come('a:6');
    come('a:7');
    assert.deepEqual(ended, ['2 RESOURCE_EXHAUSTED', '4 RESOURCE_EXHAUSTED']);
  });

  it('is read no further while so many of its messages wait, and again once less than half of them do, or it is over', () => {
    const { streams, calls, say, come } = streamsOf(['a:1'], { unhandledMessages: 4 });
    const [call] = calls;
    const paused = (['hello', 'heartbeat', 'heartbeat', 'heartbeat'] as const).map((word) => {
      say(1, word);
      return call!.isPaused();
    });
    assert.deepEqual(paused, [false, false, false, true]);
    const handled = [1, 2, 3].map(() => {
      streams.handled(1);
      return call!.isPaused();
    });
    assert.deepEqual(handled, [true, true, false]);
    come('a:2');
    for (const word of ['hello', 'heartbeat', 'heartbeat', 'heartbeat'] as const) say(2, word);
    calls[1]!.emit('cancelled');
    assert.equal(calls[1]!.isPaused(), false);
  });

  it('hears broadcasts from its welcome on, and holds its connection from then until it ends', () => {
    const { streams, calls, sent, held } = streamsOf(['a:1', 'a:1', 'b:1'], {});
    for (const stream of [1, 1, 2]) streams.welcome(stream);
    streams.broadcast(bytes);
    assert.deepEqual(sent, ['1', '2']);
    assert.deepEqual([...held], [['a:1', 2]]);
    calls[0]!.emit('end');
    assert.deepEqual([...held], [['a:1', 1]]);
    streams.broadcast(bytes);
    assert.deepEqual(sent, ['1', '2', '1 end', '2']);
  });
});

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
    const { streams, dropped, read } = streamsOf(['a:1', 'b:1', 'c:1'], { backlogBytesOfAll: 2000 });
    for (const stream of [1, 2, 2, 3]) streams.send(stream, bytes);
    assert.deepEqual(dropped, ['b:1']);
    for (const stream of [2, 1]) streams.send(stream, bytes);
    assert.deepEqual(dropped, ['b:1']);
    read();
    for (const stream of [1, 1, 3]) streams.send(stream, bytes);
    assert.deepEqual(dropped, ['b:1']);
    streams.send(3, bytes);
    assert.deepEqual(dropped, ['b:1', 'a:1']);
  });
});
