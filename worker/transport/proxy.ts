/** The HTTP proxy that gRPC goes through by itself, where the environment names one. */
import { isIP } from 'node:net';
import { mapProxyName } from '@grpc/grpc-js/build/src/http_proxy.js';
import { isLoopback, splitAddress } from '../../platform/address.ts';

/** In the order in which gRPC looks at them. */
const VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;

/**
 * True where gRPC may go to `address` through a proxy. This machine is reached without, and so is an address of IPv6: gRPC asks proxies
 * for it without its brackets, which they do not understand.
 */
export function mayUseProxy(address: string): boolean {
  const { host } = splitAddress(address);
  return !isLoopback(host) && isIP(host) !== 6;
}

/** The `host:port` of the proxy through which gRPC goes to `address`, and the variable that names it. */
export function proxyTo(address: string): { proxy: string; variable: string } | undefined {
  if (!mayUseProxy(address)) return undefined;
  const { target } = mapProxyName({ scheme: 'dns', path: address }, {});
  const variable = VARIABLES.find((name) => process.env[name]);
  return target.path === address || variable === undefined ? undefined : { proxy: target.path, variable };
}

/** What a person is told of the way to `address`; undefined: it leads through no proxy. */
export function proxyNotice(address: string): string | undefined {
  const way = proxyTo(address);
  return (
    way &&
    `to the trainer through the proxy ${way.proxy} (${way.variable}); no_proxy=${splitAddress(address).host} goes around it`
  );
}
