/** What a trainer asks of its peers, from flags. */
import * as grpc from '@grpc/grpc-js';
import { usageError } from '../proto/operating-error.ts';
import type { ServiceAccess } from '../trainer/transport/service.ts';
import { toStderr } from './command.ts';
import { joinToken, refusePlain, type TlsFlags, tlsFiles } from './tls-flags.ts';

/** What a trainer that listens on `host` asks of its peers. @throws OperatingError usage */
export const serverAccess = (host: string, flags: TlsFlags, warn = toStderr): ServiceAccess => ({
  credentials: serverCredentials(host, flags),
  showsCertificate: flags.tlsCa !== undefined,
  joinToken: joinToken(flags, warn),
});

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
