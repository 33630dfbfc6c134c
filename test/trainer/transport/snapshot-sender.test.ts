/** Who gets a snapshot where all places are taken, and who makes room. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { Peer } from '../../../platform/listener.ts';
import type { SnapshotChunk } from '../../../proto/gen/onebyte.ts';
import { SNAPSHOT_CHUNK_BYTES } from '../../../proto/limits.ts';
import { SERVICE_LIMITS, type ServiceLimits } from '../../../trainer/transport/service-limits.ts';
import { snapshotSender } from '../../../trainer/transport/snapshot-sender.ts';

/** A sender to peers that read nothing. `ask`: whether a call of `peer` is refused, and how many snapshots were begun. */
function sender(limits: Partial<ServiceLimits>, workers: readonly Peer[] = []) {
  const dropped: Peer[] = [];
  let [nowMs, begun] = [0, 0];
  const send = snapshotSender(
    { ...SERVICE_LIMITS, ...limits },
    () => {
      begun++;
      return new Promise(() => {});
    },
    () => ({ isHeld: (peer) => workers.includes(peer), drop: (peer) => dropped.push(peer) }),
    () => nowMs,
  );
  return {
    dropped,
    wait: (ms: number) => (nowMs += ms),
    ask(peer: Peer): 'taken' | 'refused' {
      const call = Object.assign(new EventEmitter(), { getPeer: () => peer });
      let code: status | undefined;
      call.on('error', (error: { code: status }) => (code = error.code));
      const before = begun;
      void send(call as never);
      assert.equal(code, begun > before ? undefined : status.RESOURCE_EXHAUSTED);
      return begun > before ? 'taken' : 'refused';
    },
  };
}

describe('snapshots', () => {
  it('of the oldest without a worker make room, those of workers do not', () => {
    const { ask, dropped } = sender({ snapshots: 3 }, ['w:1', 'w:2', 'w:3', 'w:4']);
    assert.deepEqual(['w:1', 'x:1', 'y:1'].map(ask), ['taken', 'taken', 'taken']);
    assert.deepEqual(['z:1', 'w:2', 'w:3'].map(ask), ['taken', 'taken', 'taken']);
    assert.deepEqual(dropped, ['x:1', 'y:1', 'z:1']);
    assert.deepEqual([ask('w:4'), ask('v:1'), dropped.length], ['refused', 'refused', 3]);
  });

  it('are few on a connection and for an address, where its own strangers make room', () => {
    const { ask, dropped } = sender({ snapshotsPerConnection: 2, snapshotsPerAddress: 3 }, ['x:3']);
    assert.deepEqual(['y:1', 'x:1', 'x:1', 'x:1'].map(ask), ['taken', 'taken', 'taken', 'refused']);
    assert.deepEqual(['x:2', 'x:3'].map(ask), ['taken', 'taken']);
    assert.deepEqual(dropped, ['x:1']);
    assert.deepEqual(['x:1', 'x:4'].map(ask), ['taken', 'taken'], 'both of the dropped connection are gone');
    assert.deepEqual(dropped, ['x:1', 'x:2']);
  });

  it('begin so often over one connection of workers, and over all of an address', () => {
    const many = 10_000;
    const peers = Array.from({ length: 40 }, (_, i) => `w:${i}`);
    const limits = { snapshots: many, snapshotsPerAddress: many, snapshotsPerConnection: many };
    const { ask } = sender(limits, peers);
    const begin = (peer: Peer): number =>
      Array.from({ length: 100 }, () => ask(peer)).filter((answer) => answer === 'taken').length;
    const begun = peers.map(begin);
    assert.deepEqual([begun[0], begun.reduce((sum, n) => sum + n, 0)], [64, 2048]);
  });

  it('that cannot be made, or that the peer no longer wants, leave their place', async () => {
    const made = [
      () => Promise.reject(new Error('a secret path')),
      async () => new Uint8Array(2 * SNAPSHOT_CHUNK_BYTES),
      async () => new Uint8Array(1),
    ];
    const send = snapshotSender(
      { ...SERVICE_LIMITS, snapshotsPerConnection: 1 },
      () => made.shift()!(),
      () => ({ isHeld: () => true, drop: assert.fail }),
    );
    const outcome = async (take: (call: EventEmitter & { cancelled: boolean }, done: () => void) => void) => {
      const said: string[] = [];
      const call = Object.assign(new EventEmitter(), {
        cancelled: false,
        getPeer: () => 'w:1',
        write({ data }: SnapshotChunk, done: () => void) {
          said.push(`${data.length} bytes`);
          take(call, done);
        },
        end: () => said.push('end'),
      });
      call.on('error', ({ code, details }) => said.push(`${status[code]}: ${details}`));
      await send(call as never);
      return said;
    };
    assert.deepEqual(await outcome(assert.fail), ['INTERNAL: internal error of the trainer']);
    const cancelled = await outcome((call) => {
      call.cancelled = true;
      call.emit('cancelled');
    });
    assert.deepEqual(cancelled, [`${SNAPSHOT_CHUNK_BYTES} bytes`, 'end']);
    assert.deepEqual(await outcome((_, done) => done()), ['1 bytes', 'end']);
  });

  it('begin few times a second for the strangers of one address, however soon they give up, and do not cost its workers theirs', () => {
    const { ask, wait } = sender({ snapshots: 4 }, ['x:0']);
    const begin = (n: number): number =>
      Array.from({ length: n }, (_, i) => ask(`x:${i + 1}`)).filter((answer) => answer === 'taken').length;
    assert.deepEqual([begin(1000), ask('x:0')], [64, 'taken']);
    wait(1000);
    assert.equal(begin(1000), 4);
  });

  it('reach a worker behind a line of 9.6 kbit/s, which HTTP/2 lets half of its 64 KiB at a time go on to', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const dropped: Peer[] = [];
    const listener = { isHeld: () => true, drop: (peer: Peer) => dropped.push(peer) };
    const send = snapshotSender(
      SERVICE_LIMITS,
      async () => new Uint8Array(200_000),
      () => listener,
    );
    const line = { handed: 0, arrived: 0, ended: false };
    const waiting: { readonly end: number; readonly done: () => void }[] = [];
    const call = Object.assign(new EventEmitter(), {
      getPeer: () => 'w:1',
      write({ data }: SnapshotChunk, done: () => void) {
        line.handed += data.length;
        waiting.push({ end: line.handed, done });
      },
      end() {
        line.ended = true;
      },
    });
    const sent = send(call as never);
    while (!line.ended && dropped.length === 0) {
      await turn();
      const window = 2 ** 16 + Math.floor(line.arrived / 2 ** 15) * 2 ** 15;
      while (waiting[0] && waiting[0].end <= window) waiting.shift()!.done();
      line.arrived = Math.min(line.handed, window, line.arrived + 1200);
      t.mock.timers.tick(1000);
    }
    await sent;
    assert.deepEqual([dropped, line.handed], [[], 200_000]);
  });
});
