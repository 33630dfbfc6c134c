/** The trainer process, when its disk fails. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { it } from 'node:test';
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
