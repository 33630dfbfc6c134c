/** Certificates for tests, made by the openssl command: two authorities that do not know each other. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** File with the authority's own certificate. */
  readonly ca: string;
  /** Makes a certificate for localhost and 127.0.0.1. */
  issue(name: string): Identity;
}

const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** An authority whose files lie in `directory`. */
export function authority(directory: string, name: string): Authority {
  const [ca, caKey] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  openssl('req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`, '-days', '2', '-keyout', caKey, '-out', ca);
  return {
    ca,
    issue(subject) {
      const file = (ending: string): string => join(directory, `${name}-${subject}.${ending}`);
      writeFileSync(file('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
      openssl('req', ...NEW_KEY, '-subj', `/CN=${subject}`, '-keyout', file('key'), '-out', file('csr'));
      const signing = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', file('ext')];
      openssl('x509', '-req', '-in', file('csr'), ...signing, '-out', file('pem'));
      return { cert: file('pem'), key: file('key') };
    },
  };
}
