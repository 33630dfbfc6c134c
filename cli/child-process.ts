/** Child processes of ours: they speak over an IPC channel, log into files, and end when this process does. */
import { type ChildProcess, fork } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { ChildMessage } from './supervision.ts';

export interface Child {
  readonly process: ChildProcess;
  /** Resolves when it has ended. */
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string }>;
}

/**
 * Starts `onebyte <args>` with its log (JSON lines) appended to `logFile`.
 * @param inside command that the process runs under (`ip netns exec NAME`); empty: none
 */
export function startChild(
  args: readonly string[],
  logFile: string,
  onMessage: (message: ChildMessage) => void,
  inside: readonly string[] = [],
): Child {
  const [execPath, ...execArgv] = [...inside, process.execPath];
  const child = fork(process.argv[1]!, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execPath: execPath!,
    execArgv,
    env: { ...process.env, ONEBYTE_LOG_FORMAT: 'json' },
    // Ctrl-C in a terminal reaches this process alone: it asks its children to drain.
    detached: true,
  });
  child.stderr!.pipe(createWriteStream(logFile, { flags: 'a' }));
  child.on('message', (message) => onMessage(message as ChildMessage));
  const stdout = text(child.stdout!);
  const exit = new Promise<Awaited<Child['exit']>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => stdout.then((out) => resolve({ code, signal, stdout: out }), reject));
  });
  return { process: child, exit };
}

/** The last lines of a log, for a person who wants to know why a process failed. */
export const logTail = (file: string, lines = 5): string =>
  readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
