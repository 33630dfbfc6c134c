/** The flags that say who may speak with whom: TLS, needed beyond loopback unless --insecure is said, and the join token. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Command } from 'commander';
import { isLoopback } from '../platform/address.ts';
import { readRegular } from '../platform/regular-file.ts';
import type { TlsFiles } from '../platform/tls-files.ts';
import { parseJoinToken } from '../proto/join-token.ts';
import { usageError } from '../proto/operating-error.ts';

/** The environment variable that may hold the join token. */
const TOKEN_VARIABLE = 'ONEBYTE_JOIN_TOKEN';

/** What a token, a certificate chain or a key may have. */
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

/** The join token that the flags or the environment name; undefined without one. @throws OperatingError (usage) */
export function joinToken({ joinTokenFile }: TlsFlags, warn: (text: string) => void): string | undefined {
  if (joinTokenFile !== undefined) {
    const token = parseJoinToken(readRegular(joinTokenFile, MAX_BYTES).toString('latin1'), joinTokenFile);
    if ((statSync(joinTokenFile).mode & 0o004) !== 0)
      warn(`${joinTokenFile}: every user of this machine can read this join token; chmod 600 it`);
    return token;
  }
  const text = process.env[TOKEN_VARIABLE];
  return text === undefined ? undefined : parseJoinToken(text, TOKEN_VARIABLE);
}

/** Reads the files of the TLS flags. @throws OperatingError (usage): gRPC itself would find a bad one at the first connection only. */
export function tlsFiles({ tlsCert, tlsKey, tlsCa }: TlsFlags): TlsFiles {
  const read = (file: string | undefined): Buffer | null => (file === undefined ? null : readRegular(file, MAX_BYTES));
  const files = { ca: read(tlsCa), key: read(tlsKey), cert: read(tlsCert) };
  if (files.ca) certificatesIn(`--tls-ca ${tlsCa}`, files.ca);
  if (files.key) inFile(`--tls-key ${tlsKey}: its key cannot be read`, () => createPrivateKey(files.key!));
  if (files.cert) {
    const name = `--tls-cert ${tlsCert}`;
    const [own] = certificatesIn(name, files.cert);
    refuseOutOfDate(name, own!);
    inFile(`${name}, --tls-key ${tlsKey}`, () => createSecureContext({ key: files.key!, cert: files.cert! }));
  }
  return files;
}

/** @throws OperatingError (usage): there is none, or one cannot be read: OpenSSL passes over those that it does not understand */
function certificatesIn(name: string, pem: Buffer): X509Certificate[] {
  const text = pem.toString('latin1');
  const begins = Array.from(text.matchAll(/-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/g), ({ index }) => index);
  if (begins.length === 0) throw usageError(`${name}: holds no PEM certificate`);
  return begins.map((at, i) =>
    inFile(`${name}: its certificate ${i + 1} cannot be read`, () => new X509Certificate(text.slice(at))),
  );
}

function inFile<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw usageError(`${what}: ${(cause as Error).message}`, { cause });
  }
}

/** @throws OperatingError (usage): no peer would take `certificate` now */
function refuseOutOfDate(name: string, { validFrom, validTo }: X509Certificate): void {
  const now = Date.now();
  if (now > Date.parse(validTo)) throw usageError(`${name}: expired on ${validTo}: make a new certificate`);
  if (now < Date.parse(validFrom))
    throw usageError(`${name}: holds from ${validFrom} on: is the clock of this machine right?`);
}

/** @throws OperatingError (usage): `host` is not loopback, and --insecure is not said */
export function refusePlain(host: string, { insecure }: TlsFlags, flags: string): void {
  if (!insecure && !isLoopback(host)) throw usageError(`${host} is not loopback: give ${flags}, or say --insecure`);
}
