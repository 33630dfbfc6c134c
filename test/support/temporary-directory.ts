/** A directory of its own for a test, removed when the test process ends: by then all that writes into it has ended too. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test or a suite offers to clean up with. */
export interface Cleanup {
  after(end: () => unknown): void;
}

const directories: string[] = [];
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-'));
  directories.push(directory);
  return directory;
}
