/** Run directories that a trainer could not open to the end. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { referenceBackend } from '../../../kernels/reference.ts';
import { recordOf } from '../../../proto/record.ts';
import { checkpointsOf, roundLogFile } from '../../../trainer/store/open-run.ts';
import { replayLog } from '../../../trainer/store/replay.ts';
import { readRoundLog } from '../../../trainer/store/round-log.ts';
import { close, openSmallRun } from '../../support/open-small-run.ts';
import { smallRunConfig } from '../../support/small-run.ts';
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

it('a run that is there is refused without --resume, and can be gone on with at once', async () => {
  const directory = temporaryDirectory();
  await close(await openSmallRun(directory, false));
  await assert.rejects(openSmallRun(directory, false), { exitCode: 2, message: /round\.log exists: use --resume/ });
  await close(await openSmallRun(directory));
});

it('a change of how the learning rate falls is taken from the next record on, and none of one that counted', async () => {
  const directory = temporaryDirectory();
  const { learning, ...config } = smallRunConfig();
  const falling = (from: number, N: number) => ({
    ...config,
    learning: { ...learning, decayChanges: [[from, N] as [number, number]] },
  });
  await close(await openSmallRun(directory));
  for (const N of [5, 6]) {
    const run = await openSmallRun(directory, true, falling(0, N));
    if (N === 6) await run.log.append([{ frame: { $case: 'record', value: recordOf(0, 0, []) } }]);
    await close(run);
  }
  const log = await readRoundLog(roundLogFile(directory));
  assert.deepEqual(JSON.parse(log.header.runConfig).learning.decayChanges, [[0, 6]]);
  assert.equal((await replayLog(log, referenceBackend, 1)).replica.normaliser.round, 1);
  await assert.rejects(replayLog(log, referenceBackend, 2), {
    exitCode: 2,
    message: /round 2: the log holds 1 records/,
  });
  await assert.rejects(openSmallRun(directory, true, falling(0, 7)), {
    exitCode: 2,
    message: /learning\.decayChanges/,
  });
});
