/** Starts a worker thread from a file of this package: from its .ts source under tsx, from .js in the built package. */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * A thread that runs `file`, given without its extension and relative to the caller: `spawnThread('./thread', import.meta.url)`.
 * The thread does not keep the process alive (`ref()` it for as long as its answer is awaited); the caller ends it.
 */
export function spawnThread(file: string, callerUrl: string, options: WorkerOptions = {}): Worker {
  const source = new URL(callerUrl).pathname.endsWith('.ts');
  const url = new URL(file + (source ? '.ts' : '.js'), callerUrl);
  const execArgv = source ? ['--import', import.meta.resolve('tsx')] : [];
  const thread = new Worker(url, { execArgv, ...options });
  thread.unref();
  return thread;
}
