/** Starts a module of the benchmarks as a process of its own, from the sources or compiled. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * @param module URL without its ending
 * @param inside command that the process runs under (`ip netns exec NAME`); empty: none
 */
export function forkModule(module: URL, inside: readonly string[] = []): ChildProcess {
  const isSource = import.meta.url.endsWith('.ts');
  const own = [process.execPath, ...(isSource ? ['--import', 'tsx'] : [])];
  const [execPath, ...execArgv] = [...inside, ...own];
  return fork(`${fileURLToPath(module)}.${isSource ? 'ts' : 'js'}`, [], { execPath: execPath!, execArgv });
}
