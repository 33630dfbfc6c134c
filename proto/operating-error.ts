/** Errors that a user can act on, and the exit codes of every command: stated here once. */

export const EXIT = {
  done: 0,
  internal: 1,
  /** Wrong config, model or data: never retry. */
  usage: 2,
  /** Refused by the trainer. */
  refused: 3,
  trainerUnreachable: 4,
  durableStore: 5,
  diverged: 6,
  /** SIGTERM before the run was done. */
  drained: 75,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Something outside the program is wrong. The message says what, where, got, expected and what to do; no stack is shown. */
export class OperatingError extends Error {
  override readonly name = 'OperatingError';
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Wrong config, model or data (exit code 2). */
export const usageError = (message: string, options?: ErrorOptions): OperatingError =>
  new OperatingError(EXIT.usage, message, options);

/** What a run keeps on disk is damaged, lost or another's (exit code 5). */
export const storeError = (message: string, options?: ErrorOptions): OperatingError =>
  new OperatingError(EXIT.durableStore, message, options);
