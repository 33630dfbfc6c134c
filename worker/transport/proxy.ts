/** The HTTP proxy that gRPC goes through by itself, where the environment names one. */
import { mapProxyName } from '@grpc/grpc-js/build/src/http_proxy.js';
import { isLoopback, splitAddress } from '../../platform/address.ts';

/** In the order in which gRPC looks at them. */
const VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;

/** True where gRPC may go to `address` through a proxy. This machine is reached without. */
export const mayUseProxy = (address: string): boolean => !isLoopback(splitAddress(address).host);

/** What a person is told of the way to `address`; undefined: it leads through no proxy. */
export function proxyNotice(address: string): string | undefined {
  if (!mayUseProxy(address)) return undefined;
  const { target } = mapProxyName({ scheme: 'dns', path: address }, {});
  if (target.path === address) return undefined;
  const variable = VARIABLES.find((name) => process.env[name]);
  return `to the trainer through the proxy ${target.path} (${variable}); no_proxy=${splitAddress(address).host} goes around it`;
}
