/** What a worker, and `onebyte status`, ask of a trainer's service, and what they say of one that cannot be asked. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { it, type TestContext } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { type GetRunConfigResponse, type SnapshotChunk, TrainerService } from '../../../proto/gen/onebyte.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { statusOfRefusal } from '../../../trainer/transport/grpc-status.ts';
import { MessageQueue } from '../../../worker/transport/message-queue.ts';
import {
  ConnectionLost,
  connectTrainer,
  nextMessage,
  type TrainerConnection,
} from '../../../worker/transport/trainer-client.ts';
import { PLAIN } from '../../support/protocol-worker.ts';

const { getRunConfig, getSnapshot, getStatus } = TrainerService;

/** A connection to a service of these methods. */
async function connectTo(
  test: TestContext,
  methods: grpc.ServiceDefinition,
  handlers: grpc.UntypedServiceImplementation,
): Promise<TrainerConnection> {
  const server = new grpc.Server();
  server.addService(methods, handlers);
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
  return connection;
}

it('asks for a snapshot without a deadline: over a slow line it takes hours, and stays welcome as long as parts of it come', async (test) => {
  let deadline: unknown;
  const trainer = await connectTo(
    test,
    { getSnapshot },
    {
      getSnapshot(call: grpc.ServerWritableStream<unknown, SnapshotChunk>) {
        deadline = call.getDeadline();
        call.write({ data: Buffer.of(1, 2) });
        call.end();
      },
    },
  );
  assert.deepEqual([Buffer.from(await trainer.snapshot()), deadline], [Buffer.of(1, 2), Number.POSITIVE_INFINITY]);
});

const { status } = grpc;
const { UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL } = status;
const cases: [string, grpc.status, RegExp][] = [
  ['is not there', UNAVAILABLE, /^cannot reach the trainer at [\d.:]+ \(is it running, and is the address right\?\): /],
  ['does not answer', DEADLINE_EXCEEDED, /^no answer in time from [\d.:]+ \(is it a trainer, /],
  [
    'gave it up as silent',
    statusOfRefusal('silent', '').code,
    /^the trainer at [\d.:]+ ended the call: as the peer says$/,
  ],
  ['answers with a fault of its own', INTERNAL, /^the call to the trainer at [\d.:]+ failed: /],
];
for (const [name, code, expected] of cases)
  it(`tells a trainer that ${name} from others, and may ask again`, async (test) => {
    const refuse: grpc.handleUnaryCall<unknown, unknown> = (_, reply) => reply({ code, details: 'as the peer says' });
    const trainer = await connectTo(test, { getStatus }, { getStatus: refuse });
    await assert.rejects(trainer.status(), (error: Error) => {
      assert(error instanceof ConnectionLost);
      assert.match(error.message, expected);
      return true;
    });
  });

it('goes where it is refused for good, tells another run from that, and comes again where it may be taken later', async (test) => {
  let code = status.OK;
  const refuse: grpc.handleUnaryCall<unknown, unknown> = (_, reply) => reply({ code, details: 'why' });
  const trainer = await connectTo(test, { getStatus }, { getStatus: refuse });
  const heard = async (said: grpc.status): Promise<string> => {
    code = said;
    const error: unknown = await trainer.status().catch((error: unknown) => error);
    assert(error instanceof Error);
    return error.message.includes('does not take this worker yet: why') ? 'later' : error.constructor.name;
  };
  const refusals = ['invalid', 'config', 'taken', 'busy', 'full', 'ahead', 'deviant', 'replaced', 'silent'] as const;
  const outcome: { [what: string]: string } = {};
  for (const refusal of refusals) outcome[refusal] = await heard(statusOfRefusal(refusal, '').code);
  for (const other of ['UNAUTHENTICATED', 'UNIMPLEMENTED'] as const) outcome[other] = await heard(status[other]);
  const [gone, later, elsewhere] = ['OperatingError', 'later', 'OtherRun'];
  assert.deepEqual(outcome, {
    ...{ invalid: gone, deviant: gone, replaced: gone, UNAUTHENTICATED: gone, UNIMPLEMENTED: gone },
    ...{ taken: later, busy: later, full: later, silent: 'ConnectionLost', config: elsewhere, ahead: elsewhere },
  });
});

it('comes again where its stream ends without a word', async (test) => {
  const join = (call: grpc.ServerDuplexStream<unknown, unknown>): void => void call.end();
  const trainer = await connectTo(test, { join: TrainerService.join }, { join });
  await assert.rejects(nextMessage(trainer.join()), { name: 'ConnectionLost', message: /ended the stream$/ });
});

for (const status of [401, 403, 404, 503])
  it(`takes status ${status} of a gateway for no word of the trainer, and may ask again`, async (test) => {
    const server = createServer();
    server.on('stream', (stream) => stream.respond({ ':status': status }, { endStream: true }));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const connection = connectTrainer(`127.0.0.1:${(server.address() as AddressInfo).port}`, PLAIN);
    test.after(() => {
      connection.close();
      server.close();
    });
    await assert.rejects(connection.runConfig(), (error: Error) => {
      assert(error instanceof ConnectionLost, error.message);
      const expected = new RegExp(`^a web server or a gateway answers at [\\d.:]+, and no trainer: .*${status}$`);
      assert.match(error.message, expected);
      return true;
    });
  });

it('takes a new connection where nobody answers on the first: gRPC sets a handshake no limit', async (test) => {
  const trainer = new grpc.Server();
  const runConfig: grpc.handleUnaryCall<unknown, GetRunConfigResponse> = (_, reply) =>
    reply(null, { runConfig: 'found' });
  trainer.addService({ getRunConfig }, { getRunConfig: runConfig });
  const injector = trainer.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const silent: Socket[] = [];
  let taken = 0;
  const way = createTcpServer((socket) => {
    taken++;
    if (taken === 1) silent.push(socket);
    // The second is that which looks for TLS.
    else if (taken === 2) socket.destroy();
    else injector.injectConnection(socket);
    way.emit('taken');
  });
  await once(way.listen(0, '127.0.0.1'), 'listening');
  test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const connection = connectTrainer(`127.0.0.1:${(way.address() as AddressInfo).port}`, PLAIN);
  test.after(() => {
    connection.close();
    for (const socket of silent) socket.destroy();
    trainer.forceShutdown();
    way.close();
  });
  const first = connection.runConfig();
  await once(way, 'taken');
  test.mock.timers.tick(20_000);
  await assert.rejects(
    first,
    (error: Error) => error instanceof ConnectionLost && /^no answer in time/.test(error.message),
  );
  const second = connection.runConfig();
  await once(way, 'taken');
  assert.equal(await second, 'found');
});

it('gives all that a stream brought before what ended it, and that for good', async () => {
  const messages = new MessageQueue<string>();
  messages.push('first');
  for (const reason of ['over', 'later']) messages.end(new Error(reason));
  await messages.wait();
  assert.equal(messages.take(), 'first');
  for (let i = 0; i < 2; i++) assert.throws(() => messages.take(), { message: 'over' });
});

it('refuses an address with a zone, which no attempt would reach', () =>
  assert.throws(() => connectTrainer('[fe80::1%eth0]:50051', PLAIN), {
    exitCode: EXIT.usage,
    message: /^trainer at \[fe80::1%eth0\]:50051: gRPC goes to no address with a zone/,
  }));
