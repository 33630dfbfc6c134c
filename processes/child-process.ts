/** Child processes of ours: they speak over an IPC channel, log into files, and end when this process does. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync, statSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import type { EvaluatorMessage } from './evaluator-messages.ts';
import type { TrainerChildMessage } from './trainer-messages.ts';
import type { WorkerChildMessage } from './worker-messages.ts';

/** What a child tells. */
export type ChildMessage = TrainerChildMessage | WorkerChildMessage | EvaluatorMessage;

export interface Child {
  readonly process: ChildProcess;
  /** Resolves when it has ended and its log is written. */
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string }>;
  /** The last lines of its log as text, for a person who wants to know why it failed. */
  logTail(): string;
}

/** Lines of a log that are quoted. */
const TAIL_LINES = 5;

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
  const begin = existsSync(logFile) ? statSync(logFile).size : 0;
  const [execPath, ...execArgv] = [...inside, process.execPath];
  const child = fork(process.argv[1]!, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execPath: execPath!,
    execArgv,
    // JSON would make null of a loss that is not a number.
    serialization: 'advanced',
    env: { ...process.env, ONEBYTE_LOG_FORMAT: 'json' },
    // Ctrl-C in a terminal reaches this process alone: it asks its children to drain.
    detached: true,
  });
  child.on('message', (message) => onMessage(message as ChildMessage));
  const log = pipeline(child.stderr!, createWriteStream(logFile, { flags: 'a' }));
  const exit = Promise.all([once(child, 'close'), text(child.stdout!), log]).then(([[code, signal], stdout]) => ({
    code,
    signal,
    stdout,
  }));
  const logTail = (): string =>
    existsSync(logFile)
      ? readFileSync(logFile).subarray(begin).toString().trimEnd().split('\n').slice(-TAIL_LINES).map(plain).join('\n')
      : `its log ${logFile} is gone`;
  return { process: child, exit, logTail };
}

/** What a line of a log says; what is none, as an error that ends a process, stays as it is. */
function plain(line: string): string {
  try {
    const { level, msg } = JSON.parse(line);
    return typeof msg === 'string' ? `${level}: ${msg}` : line;
  } catch {
    return line;
  }
}

/** The error of who needed a child that has ended with `code`: with that code and the last lines of its log. */
export const childFailure = (what: string, { logTail }: Child, code: number | null): OperatingError =>
  new OperatingError((code ?? EXIT.internal) as ExitCode, `${what}:\n${logTail()}`);
