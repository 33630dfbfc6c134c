/** The Secrets of a run: a join token, and a certificate for the trainer's Service from an authority made for it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Secret } from 'kubernetes-types/core/v1.js';
import { makeAuthority } from '../../platform/certificates.ts';
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
  const service = objectName(plan, 'trainer');
  const names = [service, `${service}.${plan.namespace}.svc`, `${service}.${plan.namespace}.svc.cluster.local`];
  try {
    const { ca, issue } = makeAuthority(directory, `${plan.name} authority`, plan.days);
    const { cert, key } = issue(
      service,
      names.map((name) => `DNS:${name}`),
    );
    return { 'tls.crt': readFileSync(cert), 'tls.key': readFileSync(key), 'ca.crt': readFileSync(ca) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
