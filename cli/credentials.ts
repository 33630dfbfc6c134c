/** TLS from flags: needed beyond loopback unless --insecure is said. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import type { Command } from 'commander';
import { usageError } from '../proto/operating-error.ts';

export interface TlsFlags {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly insecure?: boolean;
}

export const withTlsFlags = (command: Command): Command =>
  command
    .option('--tls-cert <file>', 'PEM certificate chain of this process')
    .option('--tls-key <file>', 'PEM key of this process')
    .option('--tls-ca <file>', 'PEM certificates to trust; on a trainer: workers must show one too')
    .option('--insecure', 'plain text beyond loopback');

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

function pem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw usageError(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

export function serverCredentials(host: string, flags: TlsFlags): grpc.ServerCredentials {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) {
    refusePlain(host, flags);
    return grpc.ServerCredentials.createInsecure();
  }
  if (tlsCert === undefined || tlsKey === undefined) throw usageError('TLS needs both --tls-cert and --tls-key');
  const pair = { cert_chain: pem(tlsCert), private_key: pem(tlsKey) };
  return grpc.ServerCredentials.createSsl(tlsCa === undefined ? null : pem(tlsCa), [pair], tlsCa !== undefined);
}

export function clientCredentials(host: string, flags: TlsFlags): grpc.ChannelCredentials {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) {
    refusePlain(host, flags);
    return grpc.credentials.createInsecure();
  }
  const own = (file: string | undefined): Buffer | null => (file === undefined ? null : pem(file));
  return grpc.credentials.createSsl(own(tlsCa), own(tlsKey), own(tlsCert));
}

function refusePlain(host: string, { insecure }: TlsFlags): void {
  if (!insecure && !isLoopback(host))
    throw usageError(`${host} is not loopback: give --tls-cert, --tls-key and --tls-ca, or say --insecure`);
}
