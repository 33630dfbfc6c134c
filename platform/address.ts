/** Network addresses as users write them. */
import { isIP } from 'node:net';
import { usageError } from '../proto/operating-error.ts';

/** Splits `host:port` or `[v6]:port`. @throws OperatingError usage */
export function splitAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (!match || port > 65535)
    throw usageError(`address ${JSON.stringify(address)}: expected host:port, or [IPv6]:port, port 0…65535`);
  return { host: match[1] ?? match[2]!, port };
}

/** `host:port`, or `[v6]:port`. */
export const joinAddress = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** True for a host that is this machine alone. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
