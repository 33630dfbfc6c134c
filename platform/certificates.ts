/** A certificate authority and the certificates that it signs, made by the openssl command. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { usageError } from '../proto/operating-error.ts';

/** Files of one PEM certificate and its key. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** File with the authority's own certificate, PEM: what its peers trust. */
  readonly ca: string;
  /** @param names what the certificate is for, as openssl writes them: `DNS:localhost`, `IP:127.0.0.1` */
  issue(subject: string, names: readonly string[]): Identity;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/**
 * Makes an authority whose files lie in `directory`.
 * @param days how long its certificate, and those that it signs, hold
 * @throws OperatingError (usage): openssl is missing or fails
 */
export function makeAuthority(directory: string, name: string, days: number): Authority {
  const [ca, caKey] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  const validity = ['-days', String(days)];
  openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, ...validity, '-keyout', caKey, '-out', ca);
  return {
    ca,
    issue(subject, names) {
      const file = (ending: string): string => join(directory, `${name}-${subject}.${ending}`);
      writeFileSync(file('ext'), `subjectAltName=${names.join(',')}\n`);
      openssl('req', ...NEW_KEY, '-subj', `/CN=${subject}`, '-keyout', file('key'), '-out', file('csr'));
      const serial = `0x1${randomBytes(15).toString('hex')}`;
      const signing = ['-CA', ca, '-CAkey', caKey, '-set_serial', serial, '-extfile', file('ext'), ...validity];
      openssl('x509', '-req', '-in', file('csr'), ...signing, '-out', file('pem'));
      for (const ending of ['csr', 'ext']) rmSync(file(ending));
      return { cert: file('pem'), key: file('key') };
    },
  };
}

function openssl(...args: string[]): void {
  try {
    execFileSync('openssl', args, { stdio: 'pipe' });
  } catch (cause) {
    throw usageError(`openssl ${args[0]}: ${(cause as Error).message}. Is the openssl command installed?`, { cause });
  }
}
