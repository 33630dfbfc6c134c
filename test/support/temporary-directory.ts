/** A directory of its own for one test, removed after it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export function temporaryDirectory(test: Pick<TestContext, 'after'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'onebyte-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
