/** A directory of its own for one test, removed after it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test or a suite offers to clean up with. */
export interface Cleanup {
  after(end: () => unknown): void;
}

export function temporaryDirectory(test: Cleanup): string {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
