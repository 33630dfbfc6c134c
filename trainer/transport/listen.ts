/** How the trainer's process takes an address: one way, with one error, for whatever listens. */
import type { AddressInfo, Server } from 'node:net';
import { splitAddress } from '../../platform/address.ts';
import { usageError } from '../../proto/operating-error.ts';

/** Makes `server` listen on `address` (`host:port`). @param what names it in errors @throws OperatingError usage: bad address, port in use */
export async function listen(server: Server, address: string, what: string): Promise<AddressInfo> {
  const { host, port } = splitAddress(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'the port is in use: choose another, or port 0' : cause.code;
      reject(usageError(`${what} ${address}: ${reason}`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  server.on('error', () => {}); // out of descriptors: the connection is lost, those that are open go on
  return server.address() as AddressInfo;
}
