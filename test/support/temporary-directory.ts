/** A directory of its own for one test, removed after it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export function temporaryDirectory(test: { after(remove: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
