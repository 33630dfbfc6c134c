/** One real run whose workers measure each in its own way. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { lastJson, runOnebyte } from '../support/onebyte.ts';
import { runTogether } from '../support/run-together.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('workers with spsa, forward and backward serve one run, and its log alone rebuilds it', {
  timeout: 300_000,
}, async () => {
  const out = join(temporaryDirectory(), 'run');
  const run = await runTogether(
    out,
    ['rounds=4', 'data.dev=', 'learning.directions=64'],
    [
      ['worker.estimator=spsa', 'worker.directions=2'],
      ['worker.estimator=forward', 'worker.directions=8', 'worker.rows=2'],
      ['worker.estimator=backward'],
    ],
  );
  assert.equal(run.gradients, 4 * (2 + 8 + 64));
  const replayed = lastJson(await runOnebyte('replay', '--log', join(out, 'round.log'), '--json'));
  assert.equal(replayed.adapterDigest, run.adapterDigest);
});
