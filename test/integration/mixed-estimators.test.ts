/** One real run whose workers measure each in its own way. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { lastJson, runOnebyte, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('workers with spsa, forward and backward serve one run, and its log alone rebuilds it', {
  timeout: 300_000,
}, async () => {
  const runFile = join(tinyReviews, 'run.yaml');
  const out = join(temporaryDirectory(), 'run');
  const run = ['rounds=4', 'data.dev=', 'learning.directions=64', 'trainer.startWorkers=3', 'trainer.quorum=all'];
  const trainer = startOnebyte(['trainer', runFile, '--out', out, '--json', ...settingFlags(run)]);
  const address = (await trainer.line(/"address":"([^"]+)"/))[1]!;
  const choices = [
    ['worker.estimator=spsa', 'worker.directions=2'],
    ['worker.estimator=forward', 'worker.directions=8', 'worker.rows=2'],
    ['worker.estimator=backward'],
  ];
  const workers = choices.map((own, i) =>
    startOnebyte([
      ...['worker', runFile, '--trainer', address, '--number', String(i), '--threads', '1', '--json'],
      ...settingFlags([...run, ...own]),
    ]),
  );
  const result = lastJson(await trainer.finished);
  assert.equal(result.gradients, 4 * (2 + 8 + 64));
  for (const worker of workers) {
    const finished = await worker.finished;
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal(lastJson(finished).replicaDigest, result.replicaDigest);
  }
  const replayed = lastJson(await runOnebyte('replay', '--log', join(out, 'round.log'), '--json'));
  assert.equal(replayed.adapterDigest, result.adapterDigest);
});
