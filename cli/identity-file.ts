/** The file in which a worker keeps the secret of its last welcome for the process that takes its place. */
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { readRegular } from '../platform/regular-file.ts';
import type { Identity } from '../worker/run-worker.ts';

/** Bytes of a file that is read; a secret has 16. */
const MAX_BYTES = 64;

/**
 * What it holds is shown to a trainer and compared there: a file of another run, or of nothing, is as good as none.
 * @param warn is told where the file cannot be written: the worker goes on, and one that takes its place waits for its lease
 */
export const identityFile = (file: string, warn: (text: string) => void): Identity => ({
  /** @throws OperatingError (usage) where it is there and cannot be read */
  read: () => (existsSync(file) ? readRegular(file, MAX_BYTES, `--identity ${file}`) : Buffer.alloc(0)),
  keep(secret) {
    const unfinished = `${file}.new`;
    try {
      writeFileSync(unfinished, secret, { mode: 0o600 });
      renameSync(unfinished, file);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      warn(
        `--identity ${file}: cannot be written (${code}); started again, this worker will have to wait for its lease`,
      );
    }
  },
});
