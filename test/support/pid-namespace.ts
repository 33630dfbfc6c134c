/** Commands in a PID namespace of their own, as in a container, under this machine's host name. Linux, root. */
import { spawnSync } from 'node:child_process';

/** `command` in a new PID namespace, which ends with the process that runs it. */
export const inPidNamespace = (...command: readonly string[]): string[] => [
  'unshare',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  ...command,
];

/** Why there are none here; false: there are. */
export function whyNoPidNamespaces(): string | false {
  const [command, ...args] = inPidNamespace('true');
  const { status, error, stderr } = spawnSync(command!, args, { encoding: 'utf8' });
  return status === 0 ? false : `no PID namespaces for this user: ${error?.message ?? stderr.trim()}`;
}
