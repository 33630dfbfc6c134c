/** Starts a worker thread from a module of this package. */
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { ownModule } from './own-module.ts';

/**
 * A thread that runs `module`, given without its ending and relative to the caller: `spawnThread('./thread', import.meta.url)`.
 * The thread does not keep the process alive (`ref()` it for as long as its answer is awaited); the caller ends it.
 */
export function spawnThread(module: string, callerUrl: string, options: WorkerOptions = {}): Worker {
  const { url, isSource } = ownModule(new URL(module, callerUrl));
  const thread = isSource
    ? new Worker(bootstrap(url), { execArgv: [], ...options, eval: true })
    : new Worker(url, options);
  thread.unref();
  return thread;
}

/** `--import tsx` does not reach the threads of Node.js 20: the thread registers tsx itself. */
const bootstrap = (url: URL): string =>
  `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))})
    .then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); })`;
