/** The file in which a worker keeps the secret of its last welcome for the process that takes its place. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { usageError } from '../proto/operating-error.ts';
import type { Identity } from '../worker/run-worker.ts';

/** Bytes of a file that is read; a secret has 16. */
const MAX_BYTES = 64;

/** What it holds is shown to a trainer and compared there: a file of another run, or of nothing, is as good as none. */
export function identityFile(file: string): Identity {
  const cannot = (what: string, cause: unknown): never => {
    throw usageError(`--identity ${file}: cannot be ${what} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  };
  return {
    read() {
      try {
        return readFileSync(file).subarray(0, MAX_BYTES);
      } catch (cause) {
        return (cause as NodeJS.ErrnoException).code === 'ENOENT' ? Buffer.alloc(0) : cannot('read', cause);
      }
    },
    keep(secret) {
      const unfinished = `${file}.new`;
      try {
        writeFileSync(unfinished, secret, { mode: 0o600 });
        renameSync(unfinished, file);
      } catch (cause) {
        cannot('written', cause);
      }
    },
  };
}
