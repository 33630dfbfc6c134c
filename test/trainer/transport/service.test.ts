/** What a peer learns of faults inside, and how long a service that closes waits for those who do not hang up. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import { ServerCredentials } from '@grpc/grpc-js';
import { deferred } from '../../../platform/deferred.ts';
import { WorkerMessage } from '../../../proto/gen/onebyte.ts';
import { type ServiceHandlers, startService } from '../../../trainer/transport/service.ts';
import { SERVICE_LIMITS } from '../../../trainer/transport/service-limits.ts';
import { connectTrainer } from '../../../worker/transport/trainer-client.ts';
import { PLAIN } from '../../support/protocol-worker.ts';
import { grpcFrame, rawCall, rawSession } from '../../support/raw-peer.ts';

const access = { credentials: ServerCredentials.createInsecure(), joinToken: undefined };
const fault = (): never => {
  throw new Error('a secret path');
};

function serve(test: TestContext, handlers: Partial<ServiceHandlers> = {}) {
  const all = { onMessage: fault, onClosed: () => {}, snapshot: fault, runConfig: fault, status: fault, ...handlers };
  const service = startService('127.0.0.1:0', access, all, SERVICE_LIMITS);
  test.after(async () => (await service).close(0));
  return service;
}

describe('the service of a trainer', () => {
  it('tells a peer of a fault inside that there was one, and no more', async (test) => {
    const { address } = await serve(test);
    const connection = connectTrainer(address, PLAIN);
    test.after(() => connection.close());
    for (const call of [connection.runConfig, connection.status, connection.snapshot])
      await assert.rejects(call(), /: internal error of the trainer$/);
  });

  it('that closes waits for those who do not hang up, says so, and at last hangs up itself', async (test) => {
    const heard = deferred<void>();
    const service = await serve(test, { onMessage: () => heard.resolve() });
    const session = rawSession(service.address);
    test.after(() => session.destroy());
    const { stream, ended } = rawCall(session, 'Join');
    const hello = { name: 'w', resumeSecret: Buffer.alloc(0), runConfigSha256: Buffer.alloc(32) };
    stream.write(grpcFrame(WorkerMessage.encode({ message: { $case: 'hello', value: hello } }).finish()));
    await heard.promise;
    test.mock.timers.enable({ apis: ['setTimeout'] });
    const said: string[] = [];
    const closing = service.close(10_000, (reason) => said.push(reason));
    assert.equal((await ended).status, '0', 'its stream ends in good order');
    test.mock.timers.tick(1_999);
    assert.deepEqual(said, []);
    test.mock.timers.tick(1);
    assert.deepEqual(said, ['stays until all workers have read the last records, at most 10 s']);
    const closed = once(session, 'close');
    test.mock.timers.tick(8_000);
    await Promise.all([closing, closed]);
  });
});
