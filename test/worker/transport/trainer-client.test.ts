/** What a worker, and `onebyte status`, say of a trainer that cannot be asked. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { TrainerService } from '../../../proto/gen/onebyte.ts';
import { ConnectionLost, connectTrainer } from '../../../worker/transport/trainer-client.ts';
import { PLAIN } from '../../support/protocol-worker.ts';

const { UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL } = grpc.status;
const cases: [string, grpc.status, RegExp][] = [
  ['is not there', UNAVAILABLE, /^cannot reach the trainer at [\d.:]+ \(is it running, and is the address right\?\): /],
  ['does not answer', DEADLINE_EXCEEDED, /^no answer in time from [\d.:]+ \(is it a trainer, /],
  ['answers with a fault of its own', INTERNAL, /^the call to the trainer at [\d.:]+ failed: /],
];
for (const [name, code, expected] of cases)
  it(`tells a trainer that ${name} from others, and may ask again`, async (test) => {
    const server = new grpc.Server();
    const { getStatus } = TrainerService;
    const refuse: grpc.handleUnaryCall<unknown, unknown> = (_, reply) => reply({ code, details: 'as the peer says' });
    server.addService({ getStatus }, { getStatus: refuse });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    const connection = connectTrainer(`127.0.0.1:${port}`, PLAIN);
    test.after(() => {
      connection.close();
      server.forceShutdown();
    });
    await assert.rejects(connection.status(), (error: Error) => {
      assert(error instanceof ConnectionLost);
      assert.match(error.message, expected);
      return true;
    });
  });
