/** The trainer process, when what it depends on fails. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { it } from 'node:test';
import { splitAddress } from '../../proto/address.ts';
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

it('listens no longer when what is told of its address fails', async (test) => {
  let address = '';
  const onListening = (listening: string): void => {
    address = listening;
    throw new Error('nobody to tell');
  };
  await assert.rejects(testTrainer(test, { onListening }), /nobody to tell/);
  const { host, port } = splitAddress(address);
  const connecting = connect(Number(port), host);
  await assert.rejects(once(connecting, 'connect'), { code: 'ECONNREFUSED' });
});
