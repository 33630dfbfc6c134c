/** Who may speak with whom, from flags: TLS, needed beyond loopback unless --insecure is said, and the join token. */
import { statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import type { Command } from 'commander';
import { isLoopback } from '../platform/address.ts';
import { readRegular } from '../platform/regular-file.ts';
import { parseJoinToken } from '../proto/join-token.ts';
import { usageError } from '../proto/operating-error.ts';
import type { ServiceAccess } from '../trainer/transport/service.ts';
import type { ClientAccess } from '../worker/transport/trainer-client.ts';
import { toStderr } from './find-model.ts';

/** The environment variable that may hold the join token. */
const TOKEN_VARIABLE = 'ONEBYTE_JOIN_TOKEN';

/** Of a token, a certificate chain or a key. */
const MAX_BYTES = 2 ** 20;

export interface TlsFlags {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly insecure?: boolean;
  readonly joinTokenFile?: string;
}

export const withTlsFlags = (command: Command): Command =>
  command
    .option('--tls-cert <file>', 'PEM certificate chain of this process')
    .option('--tls-key <file>', 'PEM key of this process')
    .option('--tls-ca <file>', 'PEM certificates to trust; on a trainer: workers must show one too')
    .option('--insecure', 'plain text beyond loopback')
    .option(
      '--join-token-file <file>',
      `file with a secret that all processes of the run share (or ${TOKEN_VARIABLE})`,
    );

/** What a trainer that listens on `host` asks of its peers. @throws OperatingError usage */
export const serverAccess = (host: string, flags: TlsFlags, warn = toStderr): ServiceAccess => ({
  credentials: serverCredentials(host, flags),
  joinToken: joinToken(flags, warn),
});

/** What a process shows the trainer at `host`. @throws OperatingError usage */
export const clientAccess = (host: string, flags: TlsFlags, warn = toStderr): ClientAccess => ({
  credentials: clientCredentials(host, flags),
  joinToken: joinToken(flags, warn),
});

function joinToken({ joinTokenFile }: TlsFlags, warn: (text: string) => void): string | undefined {
  if (joinTokenFile !== undefined) {
    const token = parseJoinToken(readRegular(joinTokenFile, MAX_BYTES).toString('latin1'), joinTokenFile);
    if ((statSync(joinTokenFile).mode & 0o004) !== 0)
      warn(`${joinTokenFile}: every user of this machine can read this join token; chmod 600 it`);
    return token;
  }
  const text = process.env[TOKEN_VARIABLE];
  return text === undefined ? undefined : parseJoinToken(text, TOKEN_VARIABLE);
}

function serverCredentials(host: string, flags: TlsFlags): grpc.ServerCredentials {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) {
    refusePlain(host, flags, '--tls-cert and --tls-key (and --tls-ca, so that workers must show a certificate)');
    return grpc.ServerCredentials.createInsecure();
  }
  if (tlsCert === undefined || tlsKey === undefined) throw usageError('TLS needs both --tls-cert and --tls-key');
  const { ca, key, cert } = tlsFiles(flags);
  return grpc.ServerCredentials.createSsl(ca, [{ cert_chain: cert!, private_key: key! }], ca !== null);
}

function clientCredentials(host: string, flags: TlsFlags): grpc.ChannelCredentials {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) {
    refusePlain(host, flags, '--tls-ca (and --tls-cert and --tls-key where the trainer asks for a certificate)');
    return grpc.credentials.createInsecure();
  }
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw usageError('--tls-cert and --tls-key belong together: give both or none');
  const { ca, key, cert } = tlsFiles(flags);
  return grpc.credentials.createSsl(ca, key, cert);
}

/** Reads the files; gRPC itself would find a bad one at the first connection only. */
function tlsFiles({ tlsCert, tlsKey, tlsCa }: TlsFlags): {
  ca: Buffer | null;
  key: Buffer | null;
  cert: Buffer | null;
} {
  const read = (file: string | undefined): Buffer | null => (file === undefined ? null : readRegular(file, MAX_BYTES));
  const files = { ca: read(tlsCa), key: read(tlsKey), cert: read(tlsCert) };
  try {
    createSecureContext({ ca: files.ca ?? undefined, key: files.key ?? undefined, cert: files.cert ?? undefined });
  } catch (cause) {
    const names = [tlsCert, tlsKey, tlsCa].filter((file) => file !== undefined).join(', ');
    throw usageError(`TLS files ${names}: ${(cause as Error).message}`, { cause });
  }
  return files;
}

function refusePlain(host: string, { insecure }: TlsFlags, flags: string): void {
  if (!insecure && !isLoopback(host)) throw usageError(`${host} is not loopback: give ${flags}, or say --insecure`);
}
