/** Run directories that a trainer could not open to the end. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { checkpointsOf } from '../../../trainer/store/open-run.ts';
import { close, openSmallRun } from '../../support/open-small-run.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

it('a run that begins where another was takes none of its adapters for the best', async () => {
  const directory = temporaryDirectory();
  const best = join(checkpointsOf(directory), 'best');
  mkdirSync(checkpointsOf(directory));
  symlinkSync('round-000001', best);
  await close(await openSmallRun(directory));
  assert.throws(() => readlinkSync(best), { code: 'ENOENT' });
});

it('a run whose checkpoints have no place is refused before it begins', async () => {
  const directory = temporaryDirectory();
  writeFileSync(checkpointsOf(directory), '');
  await assert.rejects(openSmallRun(directory), { exitCode: 2, message: /checkpoints: is no directory; move it away/ });
  assert.deepEqual(readdirSync(directory), ['checkpoints']);
});

for (const resume of [false, true])
  it(`a run whose log could not be begun is begun anew, ${resume ? 'with' : 'without'} --resume`, async (test) => {
    const directory = temporaryDirectory();
    const handle = await open(directory);
    const writev = test.mock.method(Object.getPrototypeOf(handle), 'writev');
    await handle.close();
    writev.mock.mockImplementationOnce(async function (this: typeof handle, buffers: Buffer[]) {
      await this.write(Buffer.concat(buffers), 0, 7, 0);
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    });
    await assert.rejects(openSmallRun(directory, resume), { exitCode: 5, message: /ENOSPC at byte 0/ });
    await close(await openSmallRun(directory, resume));
  });
