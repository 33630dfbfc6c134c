/** What a worker asks of a trainer's service. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { type SnapshotChunk, TrainerService } from '../../../proto/gen/onebyte.ts';
import { connectTrainer } from '../../../worker/transport/trainer-client.ts';

describe('a snapshot', () => {
  it('is asked for without a deadline: over a slow line it takes hours, and stays welcome as long as parts of it come', async (t) => {
    let deadline: unknown;
    const server = new grpc.Server();
    const { getSnapshot } = TrainerService;
    server.addService({ getSnapshot } as never, {
      getSnapshot(call: grpc.ServerWritableStream<unknown, SnapshotChunk>) {
        deadline = call.getDeadline();
        call.write({ data: Buffer.of(1, 2) });
        call.end();
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    t.after(() => server.forceShutdown());
    const trainer = connectTrainer(`127.0.0.1:${port}`, { tls: undefined, joinToken: undefined });
    t.after(() => trainer.close());
    assert.deepEqual([Buffer.from(await trainer.snapshot()), deadline], [Buffer.of(1, 2), Number.POSITIVE_INFINITY]);
  });
});
