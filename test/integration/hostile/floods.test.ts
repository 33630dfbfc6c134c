/** Peers that take what they can get: connections, streams, buffers, time. All is bounded, and honest workers go on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { status } from '@grpc/grpc-js';
import { WorkerMessage } from '../../../proto/gen/onebyte.ts';
import { canonicalJson, runConfigSha256 } from '../../../proto/run-config.ts';
import { type Arena, arena } from '../../support/arena.ts';
import { protocolWorker } from '../../support/protocol-worker.ts';
import { grpcFrame, rawCall, rawSession } from '../../support/raw-peer.ts';
import { smallRunConfig } from '../../support/small-run.ts';

const config = smallRunConfig();
const heartbeat = grpcFrame(WorkerMessage.encode({ message: { $case: 'heartbeat', value: {} } }).finish());

function hello(name: string, of = config): Buffer {
  const value = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: runConfigSha256(canonicalJson(of)) };
  return grpcFrame(WorkerMessage.encode({ message: { $case: 'hello', value } }).finish());
}

/** A TCP connection that resolves `closed` when the trainer ends it. */
function rawSocket(address: string): { socket: Socket; closed: Promise<void> } {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  return { socket: socket.on('error', () => {}).resume(), closed };
}

const joins = ({ join }: Arena, count: number) => Array.from({ length: count }, () => join());

describe('streams without a hello', () => {
  it('are ended after a time', async (t) => {
    const all = await arena(t, config, { helloTimeoutMs: 100 });
    const answers = await Promise.all(joins(all, 1000).map(({ ended }) => ended));
    assert.deepEqual(new Set(answers.map((a) => Number(a.status))), new Set([status.DEADLINE_EXCEEDED]));
    await all.finish();
  });

  it('beyond the limit end the oldest of them', async (t) => {
    const all = await arena(t, config, { strangers: 100, callsPerConnection: 4000 });
    const calls = joins(all, 3000);
    const answers = await Promise.all(calls.slice(0, 2900).map(({ ended }) => ended));
    assert.deepEqual(new Set(answers.map((a) => Number(a.status))), new Set([status.RESOURCE_EXHAUSTED]));
    await protocolWorker(all.trainer.address, { name: 'late', config, until: 50 });
    await all.finish();
  });

  it('that are reset at once, thousands of them, cost their connection at most', async (t) => {
    const all = await arena(t, config);
    for (let i = 0; i < 10; i++) {
      const session = rawSession(all.trainer.address);
      for (let k = 0; k < 500; k++) {
        const { stream } = rawCall(session, 'Join');
        stream.write(hello(`reset-${k}`));
        stream.close(8);
      }
      await all.goesOn();
      session.destroy();
    }
    await all.finish();
  });
});

describe('connections', () => {
  it('that say nothing, or no HTTP/2, are closed after a time', async (t) => {
    const all = await arena(t, config, { idleConnectionMs: 200 });
    const sockets = Array.from({ length: 300 }, () => rawSocket(all.trainer.address));
    sockets.forEach(({ socket }, i) => {
      const words = ['', 'PRI * HTTP/2.0\r\n', 'GET / HTTP/1.1\r\n\r\n', '\0'.repeat(100)];
      socket.write(words[i % words.length]!);
    });
    await Promise.all(sockets.map(({ closed }) => closed));
    await all.finish();
  });

  it('beyond the limit take the place of the oldest without a worker, so that a worker still gets in', async (t) => {
    const all = await arena(t, config, { connectionsPerAddress: 20 });
    const sockets = Array.from({ length: 200 }, () => rawSocket(all.trainer.address));
    await Promise.all(sockets.slice(0, 150).map(({ closed }) => closed));
    await protocolWorker(all.trainer.address, { name: 'late', config, until: 50 });
    for (const { socket } of sockets) socket.destroy();
    await all.finish();
  });

  it('with oversized or countless headers get no further', async (t) => {
    const all = await arena(t, config);
    for (const headers of [
      { 'x-large': 'x'.repeat(200_000) },
      Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`x-${i}`, 'x'])),
    ]) {
      const session = rawSession(all.trainer.address);
      const { ended } = rawCall(session, 'GetStatus', headers);
      assert.match((await ended).status, /error|closed/);
      session.destroy();
    }
    await all.finish();
  });

  it('with unknown methods, services and content types are answered, and nothing happens', async (t) => {
    const all = await arena(t, config);
    assert.equal((await rawCall(all.session, 'Nothing').ended).status, String(status.UNIMPLEMENTED));
    assert.equal((await rawCall(all.session, '%00%ff\u00e9').ended).status, String(status.UNIMPLEMENTED));
    await rawCall(all.session, 'Join', { 'content-type': 'text/html' }).ended;
    assert.equal(
      (await rawCall(all.session, 'Join', { 'grpc-timeout': 'soon' }).ended).status,
      String(status.INTERNAL),
    );
    await all.finish();
  });
});

describe('slow readers', () => {
  it('that never read their records lose their connection once a bounded backlog is full', async (t) => {
    const all = await arena(t, config, { backlogBytes: 16_384 });
    const session = rawSession(all.trainer.address);
    const { stream } = rawCall(session, 'Join');
    stream.pause().write(hello('slow'));
    // It lives: its lease must not end before the backlog is full.
    const beats = setInterval(() => stream.write(heartbeat), 300);
    await once(session, 'close');
    clearInterval(beats);
    await all.finish();
  });

  /** Two strangers that take nothing of a snapshot: there is room for two. */
  const unread = async (t: TestContext, snapshotStallMs: number) => {
    const large = smallRunConfig({}, 16_384);
    const all = await arena(t, large, { snapshots: 2, snapshotStallMs });
    const closed: Promise<unknown>[] = [];
    for (let i = 0; i < 2; i++) {
      const session = rawSession(all.trainer.address);
      t.after(() => session.destroy());
      closed.push(once(session, 'close'));
      const { stream } = rawCall(session, 'GetSnapshot');
      stream.pause().end(grpcFrame(new Uint8Array()));
      await once(stream, 'response');
    }
    return { all, large, closed };
  };

  it('of snapshots lose their connection', async (t) => {
    const { all, closed } = await unread(t, 1000);
    await Promise.all(closed);
    await all.finish();
  });

  it('of snapshots make room for a worker', async (t) => {
    const { all, large, closed } = await unread(t, 1_000_000);
    await protocolWorker(all.trainer.address, { name: 'late', config: large, until: 50 });
    await closed[0];
    await all.finish();
  });
});

describe('a talkative stream', () => {
  it('is read no faster than its messages are handled', async (t) => {
    const all = await arena(t, config, { unhandledMessages: 4 });
    const { stream } = all.join();
    stream.write(hello('talker'));
    const flood = Buffer.concat(Array.from({ length: 20_000 }, () => heartbeat));
    await new Promise<void>((resolve) => stream.write(flood, () => resolve()));
    await all.finish();
  });
});

describe('after floods', () => {
  it('the trainer is as large as before', async (t) => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const all = await arena(t, config, { helloTimeoutMs: 50, idleConnectionMs: 100 });
    const heap: number[] = [];
    for (let wave = 0; wave < 4; wave++) {
      const session = rawSession(all.trainer.address);
      const calls = Array.from({ length: 500 }, () => rawCall(session, 'Join'));
      const sockets = Array.from({ length: 100 }, () => rawSocket(all.trainer.address));
      await Promise.all([...calls.map(({ ended }) => ended), ...sockets.map(({ closed }) => closed)]);
      session.destroy();
      await all.goesOn();
      (all.trainer.reports as unknown[]).splice(0, all.trainer.reports.length - 100);
      collect();
      heap.push(process.memoryUsage().heapUsed);
    }
    // 500 streams and 100 connections left behind would weigh about 5 MB a wave.
    assert(heap[3]! - heap[1]! < 4_000_000, `heap after each wave: ${heap.join(', ')}`);
    await all.finish();
  });
});
