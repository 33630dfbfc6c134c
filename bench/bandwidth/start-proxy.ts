/** Starts the proxy that delays, in the trainer's place of a network. */
import type { ChildProcess } from 'node:child_process';
import { firstMessage, forkModule } from '../../platform/fork-module.ts';
import type { LinkProperties } from './link.ts';
import type { Network } from './network.ts';
import type { ProxyAssignment } from './proxy.ts';

export async function startProxy(
  network: Network,
  target: ProxyAssignment['target'],
  { rate, roundTripMs }: LinkProperties,
): Promise<{ process: ChildProcess; address: string }> {
  const process = forkModule(new URL('proxy', import.meta.url), network.inside('trainer'));
  const assignment: ProxyAssignment = {
    listenHost: network.trainerHost,
    target,
    rate: Number.isFinite(rate) ? rate : undefined,
    roundTripMs,
  };
  process.send(assignment);
  return { process, address: `${network.trainerHost}:${await firstMessage<number>(process)}` };
}
