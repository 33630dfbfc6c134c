/** What a process makes durable: a crash of the machine may take all that it did not. */
import fs, { readlinkSync, realpathSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { relative } from 'node:path';
import type { TestContext } from 'node:test';

/** The files and directories below `directory` that are synced until the test ends, in order; '' is itself. Names of unfinished ones are as they will be. */
export async function syncedPaths(test: TestContext, directory: string): Promise<string[]> {
  const paths: string[] = [];
  const note = (fd: number): void => {
    const path = relative(realpathSync(directory), readlinkSync(`/proc/self/fd/${fd}`));
    paths.push(path.replace(/\.([^/]*)\.\d+\.partial/, '$1'));
  };
  const { fsyncSync } = fs;
  const sync = test.mock.method(fs, 'fsyncSync', (fd: number) => {
    note(fd);
    fsyncSync(fd);
  });
  syncBuiltinESMExports();
  test.after(() => {
    sync.mock.restore();
    syncBuiltinESMExports();
  });
  const handle = await open(directory);
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  const { datasync } = prototype;
  test.mock.method(prototype, 'datasync', async function (this: typeof handle) {
    note(this.fd);
    await datasync.call(this);
  });
  return paths;
}
