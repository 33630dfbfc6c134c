/** One real run with forward gradients: workers whose tangents have another precision hold the same replica. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { hasExactInt8 } from '../../model/runtime/int8-support.ts';
import { lastJson, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('replicas cannot tell the precision of tangents', { timeout: 300_000 }, async () => {
  const runFile = join(tinyReviews, 'run.yaml');
  const out = join(temporaryDirectory(), 'run');
  const quorum = ['trainer.startWorkers=2', 'trainer.quorum=all'];
  const settings = ['rounds=4', 'data.dev=', 'learning.estimator=forward', ...quorum];
  const shared = settingFlags(settings);
  const trainer = startOnebyte(['trainer', runFile, '--out', out, '--json', ...shared]);
  const address = (await trainer.line(/"address":"([^"]+)"/))[1]!;
  const precisions = ['float32', (await hasExactInt8()) ? 'int8' : 'float32'];
  const workers = precisions.map((precision, i) =>
    startOnebyte([
      ...['worker', runFile, '--trainer', address, '--number', String(i), '--threads', '1', '--json', ...shared],
      ...['--set', `worker.tangentPrecision=${precision}`],
    ]),
  );
  const run = lastJson(await trainer.finished);
  assert.equal(run.gradients, 4 * 2 * 8);
  for (const worker of workers) {
    const finished = await worker.finished;
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal(lastJson(finished).replicaDigest, run.replicaDigest);
  }
});
