/** What a user would do without gradient bytes: all machines average the float32 gradients of the adapter, once per step. */
import { type ChildProcess, execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { firstMessage, forkModule } from '../../platform/fork-module.ts';
import type { AveragingAssignment } from './averaging.ts';
import { type LinkProperties, transmissionMs, withHeaders } from './link.ts';
import { createNetwork } from './network.ts';
import { startProxy } from './start-proxy.ts';

export interface AveragingRow {
  readonly rate: number;
  readonly roundTripMs: number;
  readonly workers: number;
  /** Bytes of one worker's gradient, each way. */
  readonly gradientBytes: number;
  /** Seconds of a step: over gRPC, and by PyTorch's all-reduce with gloo (the rate alone, no delay; absent without PyTorch). */
  readonly grpcSeconds: number;
  readonly glooSeconds?: number;
  /** Measured, or computed from rate and delay where a step takes over a minute. */
  readonly how: 'measured' | 'computed';
}

/** A step that takes longer is computed, ms. */
const MEASURABLE_MS = 60_000;

/** A gradient up and the mean down, one after the other. */
const averagingMs = (gradientBytes: number, { rate, roundTripMs }: LinkProperties): number =>
  2 * transmissionMs(withHeaders(gradientBytes), rate) + roundTripMs;

export interface AveragingCell extends LinkProperties {
  readonly workers: number;
  /** d. */
  readonly elements: number;
}

/** @param python interpreter that has PyTorch; undefined: left out */
export async function measureAveraging(
  cell: AveragingCell,
  shaped: boolean,
  python: string | undefined,
): Promise<AveragingRow> {
  const { rate, roundTripMs, workers, elements } = cell;
  const gradientBytes = 4 * elements;
  const expectedMs = averagingMs(gradientBytes, cell);
  const row = { rate, roundTripMs, workers, gradientBytes };
  if (expectedMs > MEASURABLE_MS) return { ...row, grpcSeconds: expectedMs / 1000, how: 'computed' };
  const steps = expectedMs > 5000 ? 2 : 4;
  const grpcSeconds = await overGrpc(cell, shaped, steps);
  const gloo = python === undefined || !shaped ? {} : { glooSeconds: await overGloo(cell, python, steps) };
  return { ...row, grpcSeconds, ...gloo, how: 'measured' };
}

/** The fastest step after the first. */
const secondsOf = (seconds: readonly number[]): number => Math.min(...seconds.slice(1));

async function overGrpc(
  { workers, elements, ...link }: AveragingCell,
  shaped: boolean,
  steps: number,
): Promise<number> {
  const network = createNetwork(shaped, workers, link.rate);
  const children: ChildProcess[] = [];
  const start = <Answer>(assignment: AveragingAssignment, place: 'trainer' | number): Promise<Answer> => {
    const child = forkModule(new URL('averaging', import.meta.url), network.inside(place));
    children.push(child);
    child.send(assignment);
    return firstMessage(child);
  };
  try {
    const port = await start<number>({ role: 'server', host: network.trainerHost, workers }, 'trainer');
    const proxy = await startProxy(network, { host: network.trainerHost, port }, link);
    children.push(proxy.process);
    const worker = { role: 'worker', address: proxy.address, elements, steps } as const;
    const times = await Promise.all(Array.from({ length: workers }, (_, i) => start<number[]>(worker, i)));
    return secondsOf(times[0]!) / 1000;
  } finally {
    for (const child of children) child.kill('SIGKILL');
    network.close();
  }
}

/** Ring all-reduce from worker to worker: the proxy, and with it the delay, is not on its way. */
async function overGloo({ workers, elements, rate }: AveragingCell, python: string, steps: number): Promise<number> {
  const network = createNetwork(true, workers, rate);
  const script = fileURLToPath(new URL('ddp.py', import.meta.url));
  try {
    const runs = Array.from({ length: workers }, (_, rank) => {
      const [command, ...args] = network.inside(rank);
      const values = [rank, workers, network.address(0)!, elements, steps].map(String);
      const env = { ...process.env, GLOO_SOCKET_IFNAME: 'line' };
      return promisify(execFile)(command!, [...args, python, script, ...values], { env, timeout: 5 * MEASURABLE_MS });
    });
    const [first] = await Promise.all(runs);
    return secondsOf(JSON.parse(first!.stdout) as number[]);
  } finally {
    network.close();
  }
}
