/** Starts a module of this package as a process of its own, from the sources or compiled, and hears its first message. */
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ownModule } from './own-module.ts';

/**
 * @param module URL without its ending
 * @param inside command that the process runs under (`ip netns exec NAME`); empty: none
 */
export function forkModule(module: URL, inside: readonly string[] = [], options: ForkOptions = {}): ChildProcess {
  const { url, isSource } = ownModule(module);
  const own = [process.execPath, ...(isSource ? ['--import', import.meta.resolve('tsx')] : [])];
  const [execPath, ...execArgv] = [...inside, ...own];
  return fork(fileURLToPath(url), [], { execPath: execPath!, execArgv, ...options });
}

/** @throws when the process ends without one */
export async function firstMessage<Message>(child: ChildProcess): Promise<Message> {
  // Its messages come before `close`, not always before `exit`.
  const ended = once(child, 'close').then(([code, signal]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code ?? signal} and said nothing`);
  });
  const [message] = await Promise.race([once(child, 'message'), ended]);
  return message;
}
