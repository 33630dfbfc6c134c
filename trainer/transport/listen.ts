/** How the trainer's process takes an address: one way, with one error, for whatever listens. */
import type { AddressInfo, Server } from 'node:net';
import { splitAddress } from '../../platform/address.ts';
import { usageError } from '../../proto/operating-error.ts';

/** What the system's codes mean to who chose the address. */
const REASONS: { readonly [code: string]: string } = {
  EADDRINUSE: 'the port is in use: choose another, or port 0',
  EADDRNOTAVAIL: 'no interface of this machine has this address: 0.0.0.0 or [::] listens on all of them',
  EACCES: 'this user may not listen on this port: choose one from 1024 on',
  ENOTFOUND: 'this name has no address here',
};

/** Makes `server` listen on `address` (`host:port`). @param what names it in errors @throws OperatingError usage: bad address, port in use */
export async function listen(server: Server, address: string, what: string): Promise<AddressInfo> {
  const { host, port } = splitAddress(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(usageError(`${what} ${address}: ${REASONS[cause.code!] ?? cause.message}`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  server.on('error', () => {}); // out of descriptors: the connection is lost, those that are open go on
  return server.address() as AddressInfo;
}
