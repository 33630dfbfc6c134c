/** Who may speak with a trainer: TLS, mutual TLS, the join token, and plain text on loopback only. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ServerCredentials } from '@grpc/grpc-js';
import { clientAccess } from '../../../cli/client-access.ts';
import { serverAccess } from '../../../cli/server-access.ts';
import type { TlsFlags } from '../../../cli/tls-flags.ts';
import { makeAuthority } from '../../../platform/certificates.ts';
import { parseJoinToken, sameToken } from '../../../proto/join-token.ts';
import { EXIT, OperatingError } from '../../../proto/operating-error.ts';
import { proxyNotice } from '../../../worker/transport/proxy.ts';
import { ConnectionLost, connectTrainer } from '../../../worker/transport/trainer-client.ts';
import { lastJson, runOnebyte } from '../../support/onebyte.ts';
import { protocolWorker } from '../../support/protocol-worker.ts';
import { type Cleanup, temporaryDirectory } from '../../support/temporary-directory.ts';
import { testTrainer } from '../../support/test-trainer.ts';

const directory = temporaryDirectory();
const LOCAL = ['DNS:localhost', 'IP:127.0.0.1'];
const ours = makeAuthority(directory, 'ours', 2);
const theirs = makeAuthority(directory, 'theirs', 2);
const trainer = ours.issue('trainer', LOCAL);
const worker = ours.issue('worker', LOCAL);
const stranger = theirs.issue('stranger', LOCAL);
const TOKEN = 'correct-horse-battery-staple';
const tokenFile = join(directory, 'token');
writeFileSync(tokenFile, `${TOKEN}\n`);
const wrongTokenFile = join(directory, 'wrong-token');
writeFileSync(wrongTokenFile, 'correct-horse-battery-stapl3\n');

const keyOf = (cert: string): string => cert.replace('.pem', '.key');
const serverTls: TlsFlags = { tlsCert: trainer.cert, tlsKey: trainer.key };
const mutualTls: TlsFlags = { ...serverTls, tlsCa: ours.ca };
const rounds = 3;

/** Runs a trainer with `server` flags and one worker with `client` flags to the end of the run. */
async function train(test: Cleanup, server: TlsFlags, client: TlsFlags): Promise<number> {
  const { address, config } = await testTrainer(test, { access: serverAccess('127.0.0.1', server), rounds });
  const access = clientAccess('127.0.0.1', client);
  return (await protocolWorker(address, { name: 'w', config, access })).normaliser.round;
}

const lost = (error: unknown): boolean => error instanceof ConnectionLost;
const refused = (error: unknown): boolean => error instanceof OperatingError && error.exitCode === EXIT.refused;

describe('TLS', () => {
  it('lets a worker in that trusts the authority of the trainer', async (t) => {
    assert.equal(await train(t, serverTls, { tlsCa: ours.ca }), rounds);
  });
  it('is not spoken with a trainer of another authority', async (t) => {
    await assert.rejects(train(t, serverTls, { tlsCa: theirs.ca }), lost);
  });
  it('keeps a worker out that speaks plain text', async (t) => {
    await assert.rejects(train(t, serverTls, {}), lost);
  });
  it('lets a worker in that shows a certificate of the authority that the trainer trusts', async (t) => {
    assert.equal(await train(t, mutualTls, { tlsCa: ours.ca, tlsCert: worker.cert, tlsKey: worker.key }), rounds);
  });
  it('keeps a worker out that shows no certificate where one is asked for', async (t) => {
    await assert.rejects(train(t, mutualTls, { tlsCa: ours.ca }), lost);
  });
  it('keeps a worker out that shows a certificate of another authority', async (t) => {
    const flags = { tlsCa: ours.ca, tlsCert: stranger.cert, tlsKey: stranger.key };
    await assert.rejects(train(t, mutualTls, flags), lost);
  });
});

describe('a worker that speaks otherwise than the trainer', () => {
  const identity = { tlsCert: worker.cert, tlsKey: worker.key };
  const elsewhere = ours.issue('elsewhere', ['DNS:trainer.example']);
  const cases: [string, TlsFlags, TlsFlags, RegExp][] = [
    ['trusts another authority', serverTls, { tlsCa: theirs.ca }, /is not trusted \(.*is --tls-ca the authority/],
    ['speaks plain text to TLS', serverTls, {}, /speaks TLS and this process does not: give --tls-ca/],
    ['speaks plain text to mutual TLS', mutualTls, {}, /speaks TLS and this process does not: give --tls-ca/],
    ['speaks TLS to plain text', {}, { tlsCa: ours.ca }, /speaks plain text and this process TLS/],
    ['shows no certificate', mutualTls, { tlsCa: ours.ca }, /asks for a certificate: give --tls-cert and --tls-key/],
    [
      'shows a certificate of another authority',
      mutualTls,
      { tlsCa: ours.ca, tlsCert: stranger.cert, tlsKey: stranger.key },
      /does not take the certificate of --tls-cert/,
    ],
    [
      'is given an address that the certificate is not for',
      { tlsCert: elsewhere.cert, tlsKey: elsewhere.key },
      { tlsCa: ours.ca, ...identity },
      /its certificate is for other names/,
    ],
  ];
  for (const [how, server, client, message] of cases)
    it(`is told at once what is wrong, and does not try again: it ${how}`, async (t) => {
      const { address } = await testTrainer(t, { access: serverAccess('127.0.0.1', server) });
      const connection = connectTrainer(address, clientAccess('127.0.0.1', client));
      t.after(() => connection.close());
      await assert.rejects(connection.runConfig(), { name: 'OperatingError', exitCode: EXIT.usage, message });
    });
  it('is told that the certificate of a trainer has expired', async (t) => {
    const file = (ending: string): string => join(directory, `expired.${ending}`);
    const signing = ['-CA', ours.ca, '-CAkey', keyOf(ours.ca), '-set_serial', '7', '-days', '-1'];
    execFileSync('openssl', ['req', '-new', '-key', trainer.key, '-subj', '/CN=expired', '-out', file('csr')]);
    execFileSync('openssl', ['x509', '-req', '-in', file('csr'), ...signing, '-out', file('pem')], { stdio: 'pipe' });
    const expired = { private_key: readFileSync(trainer.key), cert_chain: readFileSync(file('pem')) };
    const credentials = ServerCredentials.createSsl(null, [expired]);
    const { address } = await testTrainer(t, { access: { credentials, joinToken: undefined } });
    const connection = connectTrainer(address, clientAccess('127.0.0.1', { tlsCa: ours.ca }));
    t.after(() => connection.close());
    const message = /its certificate, or the authority in --tls-ca, has expired/;
    await assert.rejects(connection.runConfig(), { name: 'OperatingError', exitCode: EXIT.usage, message });
  });
  it('waits for one that does not answer yet', async (t) => {
    const silent = createServer((socket) => socket.destroy());
    t.after(() => silent.close());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    for (const flags of [{}, { tlsCa: ours.ca }]) {
      const address = `127.0.0.1:${(silent.address() as { port: number }).port}`;
      const connection = connectTrainer(address, clientAccess('127.0.0.1', flags));
      t.after(() => connection.close());
      await assert.rejects(connection.runConfig(), lost);
    }
  });
});

describe('onebyte certs', () => {
  it('makes files with which a trainer and a worker trust each other, at the names given', async (t) => {
    const out = join(directory, 'made');
    const made = await runOnebyte('certs', '--out', out, '--host', 'trainer.example', '--host', '10.0.0.5', '--json');
    assert.equal(made.code, 0, made.stderr);
    const { ca, trainer: cert, worker: workerCert } = lastJson(made);
    const server = { tlsCert: cert, tlsKey: keyOf(cert), tlsCa: ca };
    assert.equal(await train(t, server, { tlsCa: ca, tlsCert: workerCert, tlsKey: keyOf(workerCert) }), rounds);
    const { subjectAltName } = new X509Certificate(readFileSync(cert));
    assert.equal(subjectAltName, 'DNS:localhost, IP Address:127.0.0.1, DNS:trainer.example, IP Address:10.0.0.5');
    for (const name of ['ca.key', 'ca-trainer.key', 'ca-worker.key'])
      assert.equal(statSync(join(out, name)).mode & 0o077, 0, `${name} is its owner's alone`);
    const pairs = ['ca', 'ca-trainer', 'ca-worker'].flatMap((name) => [`${name}.key`, `${name}.pem`]);
    assert.deepEqual(readdirSync(out).sort(), pairs.sort(), 'and nothing else');
    const again = await runOnebyte('certs', '--out', out, '--host', 'x');
    assert.deepEqual([again.code, /exists already/.test(again.stderr)], [2, true]);
    const wrong = await runOnebyte('certs', '--out', join(directory, 'wrong'), '--host', 'a b');
    assert.deepEqual([wrong.code, /--host "a b": expected a host name/.test(wrong.stderr)], [2, true]);
  });
});

describe('a proxy that the environment names', () => {
  const proxied = (t: Cleanup): void => {
    process.env.http_proxy = 'http://user:secret@127.0.0.1:9';
    t.after(() => delete process.env.http_proxy);
  };
  it('is not used on this machine', async (t) => {
    proxied(t);
    const { address } = await testTrainer(t);
    const connection = connectTrainer(address, clientAccess('127.0.0.1', {}));
    t.after(() => connection.close());
    assert.notEqual(await connection.runConfig(), '');
    assert.equal(proxyNotice(address), undefined);
  });
  it('is not used for an address of IPv6, for which gRPC would ask it without brackets', (t) => {
    proxied(t);
    assert.equal(proxyNotice('[2001:db8::1]:50051'), undefined);
  });
  it('is named where it lets nothing through', async (t) => {
    proxied(t);
    const connection = connectTrainer('0.0.0.0:1', { tls: undefined, joinToken: undefined });
    t.after(() => connection.close());
    await assert.rejects(connection.runConfig(), {
      name: 'ConnectionLost',
      message:
        'cannot reach the trainer at 0.0.0.0:1 (is it running, is the address right, and does the proxy 127.0.0.1:9 (http_proxy) let this through to there?): No connection established.',
    });
  });
  it('is named without its password where it is used', (t) => {
    assert.equal(proxyNotice('trainer.example:50051'), undefined);
    proxied(t);
    assert.equal(
      proxyNotice('trainer.example:50051'),
      'to the trainer through the proxy 127.0.0.1:9 (http_proxy); no_proxy=trainer.example goes around it',
    );
    process.env.no_proxy = 'trainer.example';
    t.after(() => delete process.env.no_proxy);
    assert.equal(proxyNotice('trainer.example:50051'), undefined);
  });
});

describe('the join token', () => {
  it('lets a worker in that has it, in plain text and in TLS', async (t) => {
    assert.equal(await train(t, { joinTokenFile: tokenFile }, { joinTokenFile: tokenFile }), rounds);
    const client = { tlsCa: ours.ca, joinTokenFile: tokenFile };
    assert.equal(await train(t, { ...serverTls, joinTokenFile: tokenFile }, client), rounds);
  });
  it('is read from ONEBYTE_JOIN_TOKEN where no file is named', (t) => {
    process.env.ONEBYTE_JOIN_TOKEN = TOKEN;
    t.after(() => delete process.env.ONEBYTE_JOIN_TOKEN);
    assert.equal(clientAccess('127.0.0.1', {}).joinToken, TOKEN);
    assert.equal(serverAccess('127.0.0.1', {}).joinToken, TOKEN);
  });
  for (const [how, flags] of [
    ['has another', { joinTokenFile: wrongTokenFile }],
    ['has none', {}],
  ] as const)
    it(`is asked for by every call: a worker that ${how} is refused, and the token is not in the answer`, async (t) => {
      const access = serverAccess('127.0.0.1', { joinTokenFile: tokenFile });
      const { address, config } = await testTrainer(t, { access });
      const client = clientAccess('127.0.0.1', flags);
      const connection = connectTrainer(address, client);
      t.after(() => connection.close());
      for (const call of [
        () => connection.runConfig(),
        () => connection.snapshot(),
        () => protocolWorker(address, { name: 'w', config, access: client }),
      ])
        await assert.rejects(call, (error: Error) => refused(error) && !error.message.includes(TOKEN));
    });
  it('is compared whole', () => {
    assert(sameToken(TOKEN, TOKEN));
    assert(!sameToken(TOKEN, `${TOKEN}x`));
    assert(!sameToken(TOKEN, ''));
  });
  it('is refused where it is short or not printable, without being repeated', () => {
    for (const text of ['short', 'sixteen bytes \u00e9 and a space', ''])
      assert.throws(
        () => parseJoinToken(text, 'token.txt'),
        (error: Error) => error instanceof OperatingError && (text === '' || !error.message.includes(text)),
      );
  });
});

describe('plain text', () => {
  it('is spoken on loopback', () => {
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) clientAccess(host, {});
  });
  for (const host of ['10.0.0.5', '0.0.0.0', '::', 'example.org', '127.example.org'])
    it(`needs --insecure at ${host}`, () => {
      for (const access of [clientAccess, serverAccess]) {
        assert.throws(() => access(host, {}), /not loopback.*--insecure/);
        access(host, { insecure: true });
      }
    });
});

it('refuses a certificate of its own that has expired, or does not hold yet', (t) => {
  const day = 24 * 60 * 60 * 1000;
  for (const [now, message] of [
    [Date.now() + 3 * day, /--tls-cert .*: expired on .* GMT: make a new certificate$/],
    [Date.now() - day, /--tls-cert .*: holds from .* GMT on: is the clock of this machine right\?$/],
  ] as const) {
    t.mock.timers.enable({ apis: ['Date'], now });
    for (const access of [clientAccess, serverAccess])
      assert.throws(() => access('h', serverTls), { name: 'OperatingError', exitCode: EXIT.usage, message });
    t.mock.timers.reset();
  }
});

describe('TLS files', () => {
  const notPem = join(directory, 'not.pem');
  writeFileSync(notPem, 'no certificate');
  const cut = join(directory, 'cut.pem');
  const whole = readFileSync(trainer.cert, 'utf8');
  writeFileSync(cut, whole + whole.slice(0, -40));
  for (const [what, make, message] of [
    [
      'a certificate without its key',
      () => serverAccess('::', { tlsCert: trainer.cert }),
      /both --tls-cert and --tls-key/,
    ],
    ['a key without its certificate', () => clientAccess('h', { tlsKey: worker.key }), /belong together/],
    ['a missing file', () => clientAccess('h', { tlsCa: join(directory, 'none') }), /none: cannot be read \(ENOENT\)/],
    [
      'a key of another certificate',
      () => serverAccess('h', { tlsCert: trainer.cert, tlsKey: worker.key }),
      /^--tls-cert .*, --tls-key .*: /,
    ],
    [
      'a file that is no certificate',
      () => serverAccess('h', { ...serverTls, tlsCert: notPem }),
      /--tls-cert .*not\.pem: holds no PEM certificate/,
    ],
    [
      'a file that is no key',
      () => serverAccess('h', { ...serverTls, tlsKey: notPem }),
      /--tls-key .*not\.pem: its key cannot be read: /,
    ],
    [
      'an authority that is no certificate',
      () => clientAccess('h', { tlsCa: notPem }),
      /--tls-ca .*not\.pem: holds no PEM certificate/,
    ],
    [
      'an authority that was cut',
      () => clientAccess('h', { tlsCa: cut }),
      /cut\.pem: its certificate 2 cannot be read: /,
    ],
  ] as const)
    it(`say what is wrong: ${what}`, () => {
      assert.throws(make, { name: 'OperatingError', message });
    });
});
