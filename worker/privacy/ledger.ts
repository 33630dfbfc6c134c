/**
 * The ledger: every contribution that was ever measured from a set of rows, one line each, durable before the measuring begins. It lives
 * as long as the data does, whatever run, worker or process there is. Lines are only ever appended: two processes that hold one ledger count each other's.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { makeDirectories, syncPath } from '../../platform/make-directories.ts';
import { readAt } from '../../platform/regular-file.ts';
import { EXIT, OperatingError, usageError } from '../../proto/operating-error.ts';
import { type Cost, LEAST_NOISE, MOST_NOISE } from './accountant.ts';

/** A line: of noise that a budget was planned with. What another one costs may take the accountant for ever. */
const Line = z.strictObject({
  samplingRate: z.number().positive().max(1),
  noise: z.number().min(LEAST_NOISE).max(MOST_NOISE),
});

/** Bytes of a ledger: over a million contributions. */
const MAX_BYTES = 2 ** 26;

/** Which rows of the data file: shard `shard` of `shards`. */
export interface LedgerPlace {
  readonly directory: string;
  readonly shard: number;
  readonly shards: number;
}

export class Ledger {
  private readonly file: string;
  private readonly fd: number;
  /** Bytes that were read: whole lines. */
  private read = 0;

  private constructor(file: string, fd: number) {
    this.file = file;
    this.fd = fd;
  }

  /**
   * Opens the ledger, or makes it. A line that a crash cut off is taken away: nothing was measured for it.
   * @throws OperatingError: durable store, where it is damaged or cannot be written; usage, where the data was divided otherwise before,
   * since nobody can tell then what a row has spent
   */
  static open({ directory, shard, shards }: LedgerPlace): Ledger {
    const file = join(directory, `shard-${shard}-of-${shards}.jsonl`);
    return inStore(file, () => {
      makeDirectories(directory);
      const ledgers = readdirSync(directory).filter((name) => /^shard-\d+-of-\d+\.jsonl$/.test(name));
      const other = ledgers.find((name) => !name.endsWith(`-of-${shards}.jsonl`));
      if (other !== undefined)
        throw usageError(
          `${join(directory, other)}: these rows were divided otherwise before, expected ${shards} shards as now; use as many as then, or give worker.privacy.ledger of rows that have spent nothing`,
        );
      const fd = openSync(file, 'a+', 0o600);
      syncPath(directory);
      const ledger = new Ledger(file, fd);
      // By one look at the size: what another process appends after it is its own, and durable.
      const { size } = fstatSync(fd);
      const whole = ledger.wholeLines(size);
      if (whole < size) ftruncateSync(fd, whole);
      return ledger;
    });
  }

  /** Lines since the last call, also of other processes. */
  take(): Cost[] {
    return inStore(this.file, () => {
      const end = this.wholeLines();
      const lines = this.bytes(this.read, end).toString().split('\n').slice(0, -1);
      this.read = end;
      return lines.map((line) => this.parse(line));
    });
  }

  /** Appends one contribution: durable when this returns. */
  append({ samplingRate, noise }: Cost): void {
    inStore(this.file, () => {
      const line = Buffer.from(`${JSON.stringify({ samplingRate, noise })}\n`);
      if (writeSync(this.fd, line) < line.length) throw new Error('the line was written in part');
      fsyncSync(this.fd);
    });
  }

  close(): void {
    closeSync(this.fd);
  }

  /** Bytes up to the end of the last whole line. */
  private wholeLines(size = fstatSync(this.fd).size): number {
    if (size < this.read) throw new Error('it became shorter');
    if (size > MAX_BYTES) throw new Error(`${size} bytes, expected at most ${MAX_BYTES}`);
    return this.read + this.bytes(this.read, size).lastIndexOf('\n') + 1;
  }

  private bytes(from: number, to: number): Buffer {
    const bytes = Buffer.alloc(to - from);
    if (readAt(this.fd, bytes, from) < bytes.length) throw new Error('it was read in part');
    return bytes;
  }

  private parse(line: string): Cost {
    try {
      return Line.parse(JSON.parse(line));
    } catch {
      throw new Error(`damaged at ${JSON.stringify(line.slice(0, 80))}; put a whole copy in its place`);
    }
  }
}

function inStore<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof OperatingError) throw cause;
    throw new OperatingError(EXIT.durableStore, `privacy ledger ${file}: ${(cause as Error).message}`, { cause });
  }
}
