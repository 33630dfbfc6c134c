/** What a process shows a trainer, from flags. */
import { usageError } from '../proto/operating-error.ts';
import type { ClientAccess } from '../worker/transport/trainer-client.ts';
import { toStderr } from './command.ts';
import { joinToken, refusePlain, type TlsFlags, tlsFiles } from './tls-flags.ts';

/** What a process shows the trainer at `host`. @throws OperatingError usage */
export const clientAccess = (host: string, flags: TlsFlags, warn = toStderr): ClientAccess => ({
  tls: clientTls(host, flags),
  joinToken: joinToken(flags, warn),
});

function clientTls(host: string, flags: TlsFlags): ClientAccess['tls'] {
  const { tlsCert, tlsKey, tlsCa } = flags;
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) {
    refusePlain(host, flags, '--tls-ca (and --tls-cert and --tls-key where the trainer asks for a certificate)');
    return undefined;
  }
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw usageError('--tls-cert and --tls-key belong together: give both or none');
  return tlsFiles(flags);
}
