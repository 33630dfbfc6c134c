/** Which Host headers the dashboard answers: a page of another site must not reach it by a name that it makes up (DNS rebinding). */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { isLoopback } from '../../platform/address.ts';

/** @param bound the address it listens on @param header what the request said */
export function isAllowedHost(bound: string, header: string | undefined): boolean {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/i.exec(header ?? '');
  const host = (match?.[1] ?? match?.[2])?.toLowerCase();
  if (host === undefined) return false;
  if (isLoopback(host) || host === bound.toLowerCase()) return true;
  // Beyond loopback it is also reached by an address, as a scraper does, or by this machine's name.
  return !isLoopback(bound) && (isIP(host) !== 0 || host === hostname().toLowerCase());
}
