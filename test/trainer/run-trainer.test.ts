/** The trainer process, when what it depends on fails, or when it is killed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { readPeftAdapter } from '../../formats/peft-adapter.ts';
import type { Backend } from '../../kernels/backend.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import { replicaDigest } from '../../kernels/replica.ts';
import { splitAddress } from '../../platform/address.ts';
import { WorkerMessage } from '../../proto/gen/onebyte.ts';
import { canonicalJson, runConfigSha256 } from '../../proto/run-config.ts';
import { checkpointName, checkpointProblem } from '../../trainer/store/checkpoint.ts';
import { checkpointsOf, roundLogFile } from '../../trainer/store/open-run.ts';
import { replayLog } from '../../trainer/store/replay.ts';
import { readRoundLog, reopenRoundLog } from '../../trainer/store/round-log.ts';
import { connectTrainer } from '../../worker/transport/trainer-client.ts';
import { PLAIN, protocolWorker } from '../support/protocol-worker.ts';
import { grpcFrame, rawCall, rawSession } from '../support/raw-peer.ts';
import { smallRunConfig, smallSettings } from '../support/small-run.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testTrainer } from '../support/test-trainer.ts';

it('says nothing more once a write of the round log has failed', async (test) => {
  const trainer = await testTrainer(test);
  const handle = await open(temporaryDirectory());
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

/** @returns the directory of a run of three rounds that is done */
async function endedRun(test: TestContext, config = smallRunConfig()): Promise<string> {
  const directory = temporaryDirectory();
  const trainer = await testTrainer(test, { directory, config, rounds: 3 });
  await protocolWorker(trainer.address, { name: 'w', config });
  await trainer.result;
  return directory;
}

it('writes the last checkpoint when it was killed between the last record and that', async (test) => {
  const directory = await endedRun(test);
  const last = join(checkpointsOf(directory), checkpointName(3));
  rmSync(last, { recursive: true });
  const { checkpointDir } = await (await testTrainer(test, { directory, rounds: 3, resume: true })).result;
  assert.equal(checkpointDir, last);
  assert.equal(await checkpointProblem(last), undefined);
});

it('passes over an evaluation in the log that nobody can have counted, and says so', async (test) => {
  const directory = await endedRun(test);
  const log = await reopenRoundLog(roundLogFile(directory), await readRoundLog(roundLogFile(directory)));
  const poisoned = { round: 2, rows: 4, correct: 3, classified: 4, lossSum: -1e300 };
  await log.append([{ frame: { $case: 'evaluation', value: poisoned } }]);
  await log.close();
  const second = await testTrainer(test, { directory, rounds: 3, resume: true });
  await second.result;
  assert.deepEqual(
    second.reports.filter(({ kind }) => kind === 'passedOver'),
    [{ kind: 'passedOver', round: 2, problem: 'a loss of -1e+300, expected at least 0' }],
  );
  assert.equal(existsSync(join(checkpointsOf(directory), 'best')), false);
});

it('takes what its log gives when its own replica is damaged and all workers say so', async (test) => {
  let updates = 0;
  const backend: Backend = {
    ...referenceBackend,
    async update(theta, ...rest) {
      await referenceBackend.update(theta, ...rest);
      // The trainer's memory is hit once, between two comparisons of digests.
      if (++updates === 20) theta[3] = theta[3]! + 1;
    },
  };
  // Two of the workers are gone at the end, and the trainer stays for them until their leases are over.
  const settings = smallSettings({ startWorkers: 3, heartbeatMs: 500, leaseMs: 3000 });
  const trainer = await testTrainer(test, { rounds: 60, backend, settings });
  const { config } = trainer;
  const workers = ['a', 'b', 'c'].map((name) => protocolWorker(trainer.address, { name, config }));
  // Those who said so first are told to catch up, which such a worker takes for its end; another may be needed for the rest.
  await Promise.allSettled(workers);
  assert.deepEqual(
    trainer.reports.find(({ kind }) => kind === 'settled'),
    { kind: 'settled', round: 32, isTrainerRight: false },
  );
  await protocolWorker(trainer.address, { name: 'late', config }).catch(() => {});
  const { replicaDigest: digest, exitCode } = await trainer.result;
  const { replica } = await replayLog(await readRoundLog(roundLogFile(trainer.directory)), referenceBackend);
  assert.deepEqual([exitCode, replicaDigest(replica).toString('hex')], [0, digest]);
});

it('makes the best adapter that the log knows of anew when it was killed before it had a checkpoint', async (test) => {
  const directory = await endedRun(test);
  const best = join(checkpointsOf(directory), 'best');
  symlinkSync(checkpointName(1), best);
  const before = await readRoundLog(roundLogFile(directory));
  const log = await reopenRoundLog(roundLogFile(directory), before);
  const evaluation = { round: 2, rows: 4, correct: 3, classified: 4, lossSum: 1 };
  await log.append([{ frame: { $case: 'evaluation', value: evaluation } }]);
  await log.close();
  await (await testTrainer(test, { directory, rounds: 3, resume: true })).result;
  assert.equal(readlinkSync(best), checkpointName(2));
  assert.equal(await checkpointProblem(best), undefined);
  const { replica } = await replayLog(before, referenceBackend, 2);
  const { matrices } = readPeftAdapter(best, smallRunConfig().adapter.modules);
  assert.deepEqual(matrices, replica.theta);
});

it('goes on with the log of a run config that held where the model lay, tells no peer of it, and names it in checkpoints', async (test) => {
  const config = smallRunConfig();
  const older = { ...config, adapter: { ...config.adapter, baseModel: '/home/someone/models/m' } };
  const directory = await endedRun(test, older);
  const baseModel = '/elsewhere/m';
  const second = await testTrainer(test, { directory, config, rounds: 5, resume: true, baseModel });
  const connection = connectTrainer(second.address, PLAIN);
  const told = await connection.runConfig();
  connection.close();
  assert.doesNotMatch(told, /someone|elsewhere/);
  await protocolWorker(second.address, { name: 'w', config });
  const { checkpointDir, rounds } = await second.result;
  assert.equal(rounds, 5);
  const { description } = readPeftAdapter(checkpointDir ?? '', config.adapter.modules);
  assert.equal(description.baseModel, baseModel);
});

/** A trainer whose run is done, and a worker that has not hung up. */
async function trainerThatStays(test: TestContext) {
  const settings = smallSettings({ startWorkers: 2, deadlineFloorMs: 1, deadlineCeilingMs: 50 });
  const trainer = await testTrainer(test, { rounds: 3, settings });
  const { address, config, directory } = trainer;
  const { replica } = await replayLog(await readRoundLog(roundLogFile(directory)), referenceBackend);
  const session = rawSession(address);
  const { stream } = rawCall(session, 'Join');
  const runConfig = runConfigSha256(canonicalJson(config));
  const hello = { name: 'slow', resumeSecret: Buffer.alloc(0), runConfigSha256: runConfig };
  const ready = { round: 0, sha256: replicaDigest(replica) };
  for (const message of [{ $case: 'hello', value: hello } as const, { $case: 'digest', value: ready } as const])
    stream.write(grpcFrame(WorkerMessage.encode({ message }).finish()));
  await protocolWorker(address, { name: 'w', config });
  return { ...trainer, session };
}

it('stays for more than a minute until a worker behind a slow line has read that the run is done, and says so', async (test) => {
  test.mock.timers.enable({ apis: ['setTimeout'] });
  const { result, reports, session } = await trainerThatStays(test);
  let hungUp = false;
  const ended = result.then(() => hungUp);
  test.mock.timers.tick(60_000);
  await turn();
  const waits = reports.flatMap((report) => (report.kind === 'waiting' ? report.reason : []));
  assert.deepEqual(waits, ['stays until all workers have read the last records, at most 90 s']);
  hungUp = true;
  session.destroy();
  assert.equal(await ended, true);
});

it('stays no longer than one that drains once it is asked to go, and its run is done', async (test) => {
  test.mock.timers.enable({ apis: ['setTimeout'] });
  const { result, session, drain } = await trainerThatStays(test);
  test.after(() => session.destroy());
  drain();
  test.mock.timers.tick(10_000);
  const { exitCode, rounds } = await result;
  assert.deepEqual([exitCode, rounds], [0, 3]);
});
