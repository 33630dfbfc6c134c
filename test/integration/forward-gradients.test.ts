/** One real run with forward gradients: workers whose tangents have another precision hold the same replica. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { hasExactInt8 } from '../../model/runtime/int8-support.ts';
import { runTogether } from '../support/run-together.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('replicas cannot tell the precision of tangents', { timeout: 300_000 }, async () => {
  const precisions = ['float32', (await hasExactInt8()) ? 'int8' : 'float32'];
  const { gradients } = await runTogether(
    join(temporaryDirectory(), 'run'),
    ['rounds=4', 'data.dev=', 'learning.estimator=forward'],
    precisions.map((precision) => [`worker.tangentPrecision=${precision}`]),
  );
  assert.equal(gradients, 4 * 2 * 8);
});
