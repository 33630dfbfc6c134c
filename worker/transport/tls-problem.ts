/** Why TLS cannot be spoken with a trainer that answers: what no further attempt would mend. */
import { isIP } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { splitAddress } from '../../platform/address.ts';
import type { TlsFiles } from '../../platform/tls-files.ts';

/** Longest wait for the trainer's part of a handshake, ms. */
const HANDSHAKE_MS = 5_000;

/** What OpenSSL and Node.js call a certificate that the client does not take; all others are faults of the network. */
const UNTRUSTED = /CERT|UNABLE_TO_|SELF_SIGNED|HOSTNAME_MISMATCH/;

/**
 * Shakes hands with the trainer at `address` once more, to learn why gRPC could not.
 * @param tls what this process shows and trusts; undefined: it speaks plain text
 * @returns the reason and what to do, for a person; undefined: the two ends speak alike, or nobody answers
 */
export async function tlsProblem(address: string, tls: TlsFiles | undefined): Promise<string | undefined> {
  if (!tls) {
    const { isSecure } = await handshake(address, { rejectUnauthorized: false });
    return isSecure ? 'it speaks TLS and this process does not: give --tls-ca' : undefined;
  }
  const { ca, key, cert } = tls;
  const options = { ...(ca && { ca }), ...(key && { key }), ...(cert && { cert }) };
  const { failure, isSecure } = await handshake(address, options);
  if (!failure) return undefined;
  const { code = '', message } = failure;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return 'it speaks plain text and this process TLS: leave the --tls flags out here, or give it --tls-cert and --tls-key';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is for other names (${message}): make one for the name in --trainer, or use a name that it is for`;
  if (/ALERT_(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)/.test(code) && !cert)
    return 'it asks for a certificate: give --tls-cert and --tls-key';
  // Node.js hangs up on a certificate that it does not take, without a word. So may a trainer that is killed, but not twice.
  if (cert && (/ALERT_/.test(code) || (isSecure && isRefusal(await handshake(address, options)))))
    return `it does not take the certificate of --tls-cert (${message}): is that of the authority in its --tls-ca?`;
  if (code === 'CERT_HAS_EXPIRED')
    return 'its certificate, or the authority in --tls-ca, has expired: make new ones and start it again with --resume; or is the clock of this machine wrong?';
  if (UNTRUSTED.test(code))
    return `its certificate is not trusted (${message}): is --tls-ca the authority that signed it?`;
  return undefined;
}

const isRefusal = ({ isSecure, failure }: Handshake): boolean => isSecure && failure !== undefined;

interface Handshake {
  /** The other end speaks TLS. */
  readonly isSecure: boolean;
  readonly failure: NodeJS.ErrnoException | undefined;
}

/**
 * One TLS handshake, and what comes before the first byte of the other end: with TLS 1.3 a server says only then that it does
 * not take the client's certificate. A trainer's first bytes are its HTTP/2 settings.
 */
function handshake(address: string, options: ConnectionOptions): Promise<Handshake> {
  const { host, port } = splitAddress(address);
  const servername = isIP(host) === 0 ? { servername: host } : {};
  return new Promise((resolve) => {
    let isSecure = false;
    const end = (failure?: NodeJS.ErrnoException): void => {
      socket.destroy();
      resolve({ isSecure, failure });
    };
    const socket = connect({ host, port, ...servername, ALPNProtocols: ['h2'], ...options });
    socket.setTimeout(HANDSHAKE_MS, () => end(new Error('no answer')));
    socket.once('secureConnect', () => {
      isSecure = true;
    });
    socket.once('data', () => end());
    socket.once('error', end);
    socket.once('close', () => end(new Error('closed')));
  });
}
