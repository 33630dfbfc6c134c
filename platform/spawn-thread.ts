/** Starts a worker thread from a file of this package: from its .ts source under tsx, from .js in the built package. */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * A thread that runs `file`, given without its extension and relative to the caller: `spawnThread('./thread', import.meta.url)`.
 * The thread does not keep the process alive (`ref()` it for as long as its answer is awaited); the caller ends it.
 */
export function spawnThread(file: string, callerUrl: string, options: WorkerOptions = {}): Worker {
  const source = new URL(callerUrl).pathname.endsWith('.ts');
  const thread = source
    ? new Worker(bootstrap(new URL(`${file}.ts`, callerUrl)), { execArgv: [], ...options, eval: true })
    : new Worker(new URL(`${file}.js`, callerUrl), options);
  thread.unref();
  return thread;
}

/** `--import tsx` does not reach the threads of Node.js 20: the thread registers tsx itself. */
const bootstrap = (url: URL): string =>
  `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))})
    .then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); })`;
