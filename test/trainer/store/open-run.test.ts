/** Run directories that a trainer could not open to the end. */
import assert from 'node:assert/strict';
import { mkdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { referenceBackend } from '../../../kernels/reference.ts';
import { checkpointsOf, openRun } from '../../../trainer/store/open-run.ts';
import { smallRunConfig } from '../../support/small-run.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

it('a run that begins where another was takes none of its adapters for the best', async (test) => {
  const directory = temporaryDirectory(test);
  const best = join(checkpointsOf(directory), 'best');
  mkdirSync(checkpointsOf(directory));
  symlinkSync('round-000001', best);
  const { log, unlock } = await openRun(directory, smallRunConfig(), Buffer.alloc(0), true, referenceBackend);
  await log.close();
  unlock();
  assert.throws(() => readlinkSync(best), { code: 'ENOENT' });
});

for (const resume of [false, true])
  it(`a run whose log could not be begun is begun anew, ${resume ? 'with' : 'without'} --resume`, async (test) => {
    const directory = temporaryDirectory(test);
    const handle = await open(directory);
    const writev = test.mock.method(Object.getPrototypeOf(handle), 'writev');
    await handle.close();
    writev.mock.mockImplementationOnce(async function (this: typeof handle, buffers: Buffer[]) {
      await this.write(Buffer.concat(buffers), 0, 7, 0);
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    });
    const opened = () => openRun(directory, smallRunConfig(), Buffer.alloc(0), resume, referenceBackend);
    await assert.rejects(opened(), { exitCode: 5, message: /ENOSPC at byte 0/ });
    const { log, unlock } = await opened();
    await log.close();
    unlock();
  });
