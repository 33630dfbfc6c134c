/** A Compute in a thread of its own, so that streams, leases and signals go on while a forward pass blocks. */
import type { Worker } from 'node:worker_threads';
import { type Deferred, deferred } from '../platform/deferred.ts';
import { spawnThread } from '../platform/spawn-thread.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import type { Compute, ComputeOptions, ComputeReport } from './compute.ts';

type Method = 'readData' | 'restore' | 'apply' | 'measure' | 'evaluate' | 'digest' | 'adapterDigest';

export interface ComputeCall {
  readonly id: number;
  /** `end` is not answered: the thread ends. */
  readonly method: Method | 'create' | 'end';
  readonly args: readonly unknown[];
}

export interface ComputeReply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: {
    readonly message: string;
    readonly stack: string | undefined;
    readonly exitCode: ExitCode | undefined;
  };
}

/** Compute's methods, each a promise. Binary values arrive as Uint8Array. */
export type RemoteCompute = {
  readonly [M in Method]: (...args: Parameters<Compute[M]>) => Promise<Awaited<ReturnType<Compute[M]>>>;
} & {
  /** Loads model and kernels, before all else. @throws OperatingError as Compute.create does */
  create(options: ComputeOptions): Promise<ComputeReport>;
  /**
   * Ends the thread, also between the steps of a call, and waits for that: a pass of ONNX Runtime first comes to its end. From
   * outside (Worker.terminate, process.exit) the thread would be ended within it, which aborts the process.
   */
  terminate(): Promise<void>;
};

/** Starts the thread. */
export function startCompute(): RemoteCompute {
  const thread = spawnThread('./compute-thread', import.meta.url);
  const call = caller(thread);
  const remote =
    <M extends Method>(method: M) =>
    (...args: Parameters<Compute[M]>) =>
      call(method, args) as Promise<Awaited<ReturnType<Compute[M]>>>;
  return {
    create: (options) => call('create', [options]) as Promise<ComputeReport>,
    terminate: async () => void (await call('end', []).catch(() => {})),
    readData: remote('readData'),
    restore: remote('restore'),
    apply: remote('apply'),
    measure: remote('measure'),
    evaluate: remote('evaluate'),
    digest: remote('digest'),
    adapterDigest: remote('adapterDigest'),
  };
}

/** Sends calls to the thread and matches its replies. The thread keeps the process alive while an answer is awaited. */
function caller(thread: Worker): (method: ComputeCall['method'], args: readonly unknown[]) => Promise<unknown> {
  const waiting = new Map<number, Deferred<unknown>>();
  let nextId = 0;
  const settle = (id: number): Deferred<unknown> | undefined => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) thread.unref();
    return call;
  };
  thread.on('message', ({ id, value, error }: ComputeReply) => {
    if (error) settle(id)?.reject(asError(error));
    else settle(id)?.resolve(value);
  });
  let ended: Error | undefined;
  const fail = (error: Error): void => {
    ended ??= error;
    for (const id of [...waiting.keys()]) settle(id)?.reject(error);
  };
  thread.on('error', fail);
  thread.on('exit', () => fail(new OperatingError(EXIT.internal, 'the compute thread ended')));
  return (method, args) => {
    if (ended) return Promise.reject(ended);
    const id = nextId++;
    const call = deferred<unknown>();
    waiting.set(id, call);
    thread.ref();
    thread.postMessage({ id, method, args } satisfies ComputeCall);
    return call.promise;
  };
}

function asError({ message, stack, exitCode }: NonNullable<ComputeReply['error']>): Error {
  if (exitCode !== undefined) return new OperatingError(exitCode, message);
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
