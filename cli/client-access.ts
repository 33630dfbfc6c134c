/** What a process shows a trainer, from flags. */
import * as grpc from '@grpc/grpc-js';
import { usageError } from '../proto/operating-error.ts';
import type { ClientAccess } from '../worker/transport/trainer-client.ts';
import { joinToken, refusePlain, type TlsFlags, tlsFiles } from './tls-flags.ts';

/** What a process shows the trainer at `host`. @throws OperatingError usage */
export const clientAccess = (host: string, flags: TlsFlags): ClientAccess => ({
  credentials: clientCredentials(host, flags),
  joinToken: joinToken(flags),
});

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
