/** What every command does alike: turns errors into exit codes and signals into a request to drain. */
import { type Command, InvalidArgumentError } from 'commander';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';

/** Runs `action`; its exit code becomes the process's. */
export async function runCommand(action: () => Promise<ExitCode>): Promise<void> {
  try {
    process.exitCode = await action();
  } catch (error) {
    process.exitCode = sayError(error);
  }
}

/** A line for a person, from a command that has no log. */
export const toStderr = (text: string): void => void process.stderr.write(`${text}\n`);

/** Says what ends the process: a user's error is one message, never a stack. @returns the exit code */
export function sayError(error: unknown): ExitCode {
  const known = error instanceof OperatingError ? error : ofSystem(error);
  toStderr(`onebyte: ${known ? known.message : `internal error, please report it: ${(error as Error).stack}`}`);
  return known?.exitCode ?? EXIT.internal;
}

/** What the system refused, a directory that may not be written or a full disk, is for the user to mend. */
function ofSystem(error: unknown): OperatingError | undefined {
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return undefined;
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO'].includes(String(error.code));
  return new OperatingError(full ? EXIT.durableStore : EXIT.usage, error.message, { cause: error });
}

/** Aborted by the first SIGTERM or SIGINT, with the error to end with; the second ends the process at once. */
export function drainOnSignal(): { signal: AbortSignal; interrupted: () => boolean } {
  const controller = new AbortController();
  let interrupted = false;
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    const early = process.listeners(name);
    process.on(name, () => {
      interrupted ||= name === 'SIGINT';
      const code = interrupted ? EXIT.interrupted : EXIT.drained;
      if (controller.signal.aborted) process.exit(code);
      controller.abort(new OperatingError(code, `stopped by ${name}`));
    });
    // Not before: a signal that came and that nobody has heard yet would be lost.
    for (const each of early) process.off(name, each);
  }
  return { signal: controller.signal, interrupted: () => interrupted };
}

/** The exit code after a drain: 130 when a person pressed Ctrl-C. */
export const drainedCode = (code: ExitCode, interrupted: boolean): ExitCode =>
  code === EXIT.drained && interrupted ? EXIT.interrupted : code;

/** The last line of stdout with --json. */
export const printJson = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** Adds `--set`, which every command with a run file has. */
export const withSettings = (command: Command): Command =>
  command.option(
    '--set <key=value>',
    'override a key of the run file (learning.epsilon=1e-3), or, where there is none, worker.…; may be repeated',
    repeated,
    [],
  );

/** The arguments that give `settings` (key=value) to such a command. */
export const settingFlags = (settings: readonly string[]): string[] =>
  settings.flatMap((setting) => ['--set', setting]);

/** Parses an option that may be given more than once: all its values. */
export const repeated = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

/** Parses an option that is a number from 0. */
export function notNegative(value: string): number {
  const number = Number(value);
  if (value === '' || !Number.isFinite(number) || number < 0)
    throw new InvalidArgumentError('Expected a number from 0.');
  return number;
}

/** Parses an option that is a whole number; Commander turns the error into its own usage message. */
export function wholeNumber(value: string): number {
  const number = Number(value);
  if (value === '' || !Number.isSafeInteger(number) || number < 0)
    throw new InvalidArgumentError('Expected a whole number.');
  return number;
}

/** The same, from 1. */
export function positiveNumber(value: string): number {
  const number = wholeNumber(value);
  if (number === 0) throw new InvalidArgumentError('Expected a whole number from 1.');
  return number;
}
