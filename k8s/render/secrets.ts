/** The Secrets of a run: a join token, and a certificate for the trainer's Service from an authority made for it. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Secret } from 'kubernetes-types/core/v1.js';
import { usageError } from '../../proto/operating-error.ts';
import { objectName, secretNames } from './pod.ts';

export interface SecretsPlan {
  readonly name: string;
  readonly namespace: string;
  /** How long the certificate holds, days. */
  readonly days: number;
}

/** Makes new Secrets; needs the openssl command. The authority's key is thrown away. @throws OperatingError usage: no openssl */
export function launchSecrets(plan: SecretsPlan): Secret[] {
  const { tls, token } = secretNames(plan);
  const secret = (name: string, type: string, data: { [key: string]: Buffer }): Secret => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace: plan.namespace,
      labels: { 'app.kubernetes.io/name': 'onebyte', 'app.kubernetes.io/instance': plan.name },
    },
    type,
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, value.toString('base64')])),
  });
  return [
    secret(token, 'Opaque', { token: Buffer.from(randomBytes(32).toString('hex')) }),
    secret(tls, 'kubernetes.io/tls', makeCertificates(plan)),
  ];
}

function makeCertificates(plan: SecretsPlan): { [key: string]: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-tls-'));
  const file = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => {
    try {
      execFileSync('openssl', args, { stdio: 'pipe' });
    } catch (cause) {
      throw usageError(`openssl ${args[0]}: ${(cause as Error).message}. Is the openssl command installed?`, { cause });
    }
  };
  const days = String(plan.days);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const service = objectName(plan, 'trainer');
  const names = [service, `${service}.${plan.namespace}.svc`, `${service}.${plan.namespace}.svc.cluster.local`];
  try {
    writeFileSync(file('ext'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`);
    const authority = ['-subj', `/CN=${plan.name} authority`, '-days', days, '-keyout', file('ca.key')];
    openssl('req', '-x509', ...newKey, ...authority, '-out', file('ca.crt'));
    openssl('req', ...newKey, '-subj', `/CN=${service}`, '-keyout', file('tls.key'), '-out', file('csr'));
    const signing = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file('ext')];
    openssl('x509', '-req', '-in', file('csr'), ...signing, '-days', days, '-out', file('tls.crt'));
    return Object.fromEntries(['tls.crt', 'tls.key', 'ca.crt'].map((name) => [name, readFileSync(file(name))]));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
