/** Thread entry: owns one Compute and answers calls one at a time, in the order they came. */
import { parentPort } from 'node:worker_threads';
import { OperatingError } from '../proto/operating-error.ts';
import { Compute, type ComputeOptions } from './compute.ts';
import type { ComputeCall, ComputeReply } from './remote-compute.ts';

/** What a Compute does. */
type Method = Exclude<ComputeCall['method'], 'end'>;

const port = parentPort!;
let compute: Compute | undefined;
let last: Promise<void> = Promise.resolve();

port.on('message', ({ id, method, args }: ComputeCall) => {
  // In a thread, this ends the thread alone.
  if (method === 'end') process.exit();
  last = last.then(() => answer(id, method, args));
});

async function answer(id: number, method: Method, args: ComputeCall['args']): Promise<void> {
  let reply: ComputeReply;
  try {
    reply = { id, value: await perform(method, args) };
  } catch (error) {
    const { message, stack } = error as Error;
    reply = { id, error: { message, stack, exitCode: error instanceof OperatingError ? error.exitCode : undefined } };
  }
  port.postMessage(reply);
}

async function perform(method: Method, args: ComputeCall['args']): Promise<unknown> {
  if (method === 'create') {
    compute = await Compute.create(args[0] as ComputeOptions);
    return compute.report;
  }
  const call = compute![method] as (this: Compute, ...args: unknown[]) => unknown;
  return call.apply(compute!, [...args]);
}
