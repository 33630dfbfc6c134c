import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { splitAddress } from '../../platform/address.ts';
import { startHealth, withHealth } from '../../processes/health.ts';
import { checkHealth } from '../support/health-client.ts';

test('the process is alive from the start and ready when it says so', async (context) => {
  const health = await startHealth('127.0.0.1:0');
  context.after(() => health.close());
  const ask = (service: string) => checkHealth(health.address!, service);
  assert.equal(await ask(''), 'SERVING');
  assert.equal(await ask('ready'), 'NOT_SERVING');
  health.ready(true);
  assert.equal(await ask('ready'), 'SERVING');
  health.ready(false);
  assert.equal(await ask('ready'), 'NOT_SERVING');
  await assert.rejects(ask('other'), /NOT_FOUND/);
});

test('connections that ask for nothing make way for those who ask', async (context) => {
  const health = await startHealth('127.0.0.1:0');
  context.after(() => health.close());
  const { host, port } = splitAddress(health.address!);
  const silent = Array.from({ length: 40 }, () =>
    connect(port, host)
      .on('error', () => {})
      .resume(),
  );
  context.after(() => {
    for (const socket of silent) socket.destroy();
  });
  let ended = 0;
  const someEnd = new Promise<void>((resolve) => {
    for (const socket of silent) socket.on('close', () => ++ended === 8 && resolve());
  });
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  await someEnd;
  assert.equal(await checkHealth(health.address!, ''), 'SERVING');
});

test('a process that drains is never ready again', async () => {
  const drain = new AbortController();
  await withHealth('127.0.0.1:0', drain.signal, async ({ address, ready }) => {
    ready(true);
    drain.abort();
    assert.equal(await checkHealth(address!, 'ready'), 'NOT_SERVING');
    ready(true);
    assert.equal(await checkHealth(address!, 'ready'), 'NOT_SERVING');
    assert.equal(await checkHealth(address!, ''), 'SERVING');
  });
});

test('the port is closed when the process is done', async () => {
  const address = await withHealth('127.0.0.1:0', new AbortController().signal, async (health) => health.address!);
  await assert.rejects(checkHealth(address, ''), /UNAVAILABLE|DEADLINE/);
});

test('a port in use is a wrong setting', async (context) => {
  const health = await startHealth('127.0.0.1:0');
  context.after(() => health.close());
  await assert.rejects(startHealth(health.address), { exitCode: 2, message: /--health 127/ });
});

test('nothing listens unless it is asked for', async () => {
  const health = await startHealth(undefined);
  assert.equal(health.address, undefined);
});
