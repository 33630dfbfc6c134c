/** The trainer process, when its disk fails or it is killed. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { checkpointName, checkpointProblem } from '../../trainer/checkpoint.ts';
import { checkpointsOf } from '../../trainer/open-run.ts';
import { protocolWorker } from '../support/protocol-worker.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testTrainer } from '../support/test-trainer.ts';

it('says nothing more once a write of the round log has failed', async (test) => {
  const trainer = await testTrainer(test);
  const handle = await open(temporaryDirectory(test));
  const datasync = test.mock.method(Object.getPrototypeOf(handle), 'datasync');
  await handle.close();
  let reports: number | undefined;
  const fail = async () => {
    reports = trainer.reports.length;
    throw Object.assign(new Error('broken'), { code: 'EIO' });
  };
  datasync.mock.mockImplementationOnce(fail, 5);
  const worker = protocolWorker(trainer.address, { name: 'w', config: trainer.config });
  await Promise.all([assert.rejects(trainer.result, { exitCode: 5 }), assert.rejects(worker)]);
  assert.equal(trainer.reports.length, reports);
});

it('writes the last checkpoint when it was killed between the last record and that', async (test) => {
  const directory = temporaryDirectory(test);
  const first = await testTrainer(test, { directory, rounds: 3 });
  await protocolWorker(first.address, { name: 'w', config: first.config });
  await first.result;
  const last = join(checkpointsOf(directory), checkpointName(3));
  rmSync(last, { recursive: true });
  const { checkpointDir } = await (await testTrainer(test, { directory, rounds: 3, resume: true })).result;
  assert.equal(checkpointDir, last);
  assert.equal(await checkpointProblem(last), undefined);
});
