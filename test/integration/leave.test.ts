/** A worker that is asked to go goes, whatever its trainer does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { it } from 'node:test';
import { promisify } from 'node:util';
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { deferred } from '../../platform/deferred.ts';
import { prepareRun } from '../../processes/prepare-run.ts';
import {
  type GetRunConfigResponse,
  type SnapshotChunk,
  type TrainerMessage,
  TrainerService,
  Welcome,
  Welcome_CatchUp,
  type WorkerMessage,
} from '../../proto/gen/onebyte.ts';
import { canonicalJson } from '../../proto/run-config.ts';
import { readRunFile, settled } from '../../settings/run-file.ts';
import { runFile, startOnebyte } from '../support/onebyte.ts';

/** Of a snapshot, ten a second. */
const CHUNKS = 40;

it('a worker leaves while its snapshot comes, however long the rest of it would take', async (test) => {
  const { config } = await prepareRun(settled(readRunFile(runFile), undefined));
  const terms = { round: 1, rounds: 2, epoch: 1, heartbeatMs: 5000, catchUp: Welcome_CatchUp.SNAPSHOT };
  const value = { ...Welcome.decode(Buffer.of()), ...terms };
  const isAsked = deferred<void>();
  let chunks = 0;
  const { getRunConfig, join, getSnapshot } = TrainerService;
  const server = new Server();
  server.addService(
    { getRunConfig, join, getSnapshot },
    {
      getRunConfig: (_: unknown, reply: sendUnaryData<GetRunConfigResponse>) =>
        reply(null, { runConfig: canonicalJson(config) }),
      join(call: ServerDuplexStream<WorkerMessage, TrainerMessage>) {
        call.once('data', () => call.write({ message: { $case: 'welcome', value } }));
        call.resume().on('end', () => call.end());
      },
      getSnapshot(call: ServerWritableStream<unknown, SnapshotChunk>) {
        const timer = setInterval(() => {
          call.write({ data: Buffer.of(1) });
          if (++chunks === CHUNKS) call.end();
        }, 100);
        call.on('cancelled', () => clearInterval(timer)).on('finish', () => clearInterval(timer));
        isAsked.resolve();
      },
    },
  );
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  test.after(() => server.forceShutdown());
  const worker = startOnebyte(['worker', runFile, '--trainer', `127.0.0.1:${port}`, '--set', 'data.dev=']);
  await isAsked.promise;
  worker.process.kill('SIGTERM');
  const { code, stderr } = await worker.finished;
  assert.equal(code, 75, stderr);
  assert(chunks < CHUNKS, 'all of it came first');
});

it('a worker leaves while a proxy that it has reached says nothing', { timeout: 60_000 }, async (test) => {
  const proxy = createServer();
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const env = { grpc_proxy: address, no_proxy: '', no_grpc_proxy: '' };
  const flags = ['--trainer', 'trainer.example:50051', '--insecure', '--set', 'data.dev='];
  const worker = startOnebyte(['worker', runFile, ...flags], env);
  const [socket] = (await once(proxy, 'connection')) as [Socket];
  test.after(() => {
    worker.process.kill('SIGKILL');
    socket.destroy();
    proxy.close();
  });
  worker.process.kill('SIGTERM');
  const { code, stderr } = await worker.finished;
  assert.equal(code, 75, stderr);
});
