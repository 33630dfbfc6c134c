/** `onebyte certs`: an authority and the certificates of a trainer and its workers, for machines without one of their own. */
import { chmodSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { Command } from 'commander';
import { makeAuthority } from '../platform/certificates.ts';
import { makeDirectory } from '../platform/durable-directory.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { printJson, repeated, runCommand, wholeNumber } from './command.ts';

interface Flags {
  readonly out: string;
  readonly host: readonly string[];
  readonly days: number;
  readonly json?: boolean;
}

export const certsCommand = new Command('certs')
  .description('make an authority, and certificates of a trainer and of its workers; needs the openssl command')
  .requiredOption('--out <dir>', 'new directory')
  .requiredOption('--host <name>', 'name or IP address by which workers reach the trainer; may be repeated', repeated)
  .option('--days <n>', 'how long the certificates hold', wholeNumber, 365)
  .option('--json', 'end with one line of JSON on stdout')
  .addHelpText('after', '\nExample:\n  onebyte certs --out certs --host trainer.example\n')
  .action((flags: Flags) => runCommand(() => makeCertificates(flags)));

async function makeCertificates({ out, host, days, json }: Flags): Promise<ExitCode> {
  if (days < 1) throw usageError(`--days ${days}: expected at least 1`);
  const names = ['localhost', '127.0.0.1', ...host].map(alternativeName);
  makeDirectory(out, (temporary) => {
    const authority = makeAuthority(temporary, 'ca', days);
    authority.issue('trainer', names);
    authority.issue('worker', ['DNS:worker']);
    for (const key of ['ca', 'ca-trainer', 'ca-worker']) chmodSync(join(temporary, `${key}.key`), 0o600);
  });
  const file = (name: string): string => join(out, name);
  const files = { ca: file('ca.pem'), trainer: file('ca-trainer.pem'), worker: file('ca-worker.pem') };
  if (json) printJson({ ...files, days });
  else
    process.stdout.write(
      [
        `${out}/: an authority (ca.pem, ca.key) and two certificates that hold for ${days} days`,
        'trainer:  --tls-cert ca-trainer.pem --tls-key ca-trainer.key --tls-ca ca.pem',
        'workers:  --tls-ca ca.pem --tls-cert ca-worker.pem --tls-key ca-worker.key',
        'Leave --tls-ca out at the trainer where workers need no certificate. Keep ca.key to yourself: it makes new ones.',
        '',
      ].join('\n'),
    );
  return EXIT.done;
}

/** As openssl writes it. @throws OperatingError (usage): neither a host name nor an address */
function alternativeName(host: string): string {
  if (isIP(host) !== 0) return `IP:${host}`;
  if (!/^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host))
    throw usageError(`--host ${JSON.stringify(host)}: expected a host name or an IP address, without a port`);
  return `DNS:${host}`;
}
