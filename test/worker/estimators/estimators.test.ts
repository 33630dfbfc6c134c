/** The estimators on a real model: what they measure is one thing, on one scale. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { seedKey } from '../../../kernels/random-keys.ts';
import { referenceBackend } from '../../../kernels/reference.ts';
import { initialReplica } from '../../../kernels/replica.ts';
import type { ForwardOptions } from '../../../model/runtime/forward.ts';
import { DECODED_512 } from '../../../proto/e4m3.ts';
import { Learning } from '../../../proto/run-config.ts';
import { derivativesOf } from '../../../settings/worker-settings.ts';
import { measureContribution } from '../../../worker/estimators/contribution.ts';
import { Scratch } from '../../../worker/estimators/scratch.ts';
import { onCpu, openGolden, withForward } from '../../support/golden-models.ts';
import { goldenFiles } from '../../support/onebyte.ts';

const { rows, model, layout, theta } = openGolden(join(goldenFiles, 'models/llama'));

/** Decoded gradient bytes of one contribution, and what its rows lost. */
async function measure(
  settings: Partial<Learning>,
  how: Partial<ForwardOptions> = {},
): Promise<{ gradients: number[]; loss: number }> {
  const learning = Learning.parse({ directions: 6, ...settings });
  const rule = { ...learning, decayRounds: 0, seedKey: seedKey(5) };
  const scratch = new Scratch(referenceBackend);
  const context = { learning, rule, layout, backend: referenceBackend, scratch, worker: 3 };
  const replica = initialReplica(rule, Float32Array.from(theta));
  const options = { ...derivativesOf(learning, onCpu), ...how };
  const { gradientBytes, loss } = await withForward(model, { layout }, options, (forward) =>
    measureContribution({ ...context, forward }, replica, 0, rows),
  );
  return { gradients: [...gradientBytes].map((byte) => DECODED_512[byte]! / 512), loss };
}

/** Of the rows at θ, by a forward pass for that alone. */
async function lossAtTheta(): Promise<number> {
  const losses = await withForward(model, { layout }, {}, (forward) => forward.losses(rows, 1, theta));
  return losses.reduce((sum, loss) => sum + loss, 0) / rows.length;
}

describe('exact derivatives', () => {
  for (const estimator of ['forward', 'backward'] as const)
    for (const directionStripes of [1, 4] as const)
      it(`are what spsa measures at a small epsilon (${estimator}, stripes ${directionStripes})`, async () => {
        const { gradients: spsa } = await measure({ estimator: 'spsa', epsilon: 2 ** -12, directionStripes });
        const { gradients: exact } = await measure({ estimator, directionStripes });
        assert(Math.max(...spsa.map(Math.abs)) > 1, 'the slopes are no subnormal numbers');
        // Rounding is by the same random word: equal, or a neighbour of E4M3.
        exact.forEach((g, j) => {
          assert(Math.abs(g - spsa[j]!) <= Math.abs(spsa[j]!) / 8 + 2 ** -9, `direction ${j}: ${g}, spsa ${spsa[j]}`);
        });
      });
});

describe('adapters that the graph makes of sign bits', () => {
  // Runs of a few adapters, so that a run takes some of the directions.
  for (const estimator of ['spsa', 'oneSided', 'forward'] as const)
    for (const directionStripes of [1, 4] as const)
      for (const maxActivationElements of [undefined, 60_000])
        it(`measure what those that are given do, to the bit (${estimator}, stripes ${directionStripes}, at most ${maxActivationElements})`, async () => {
          const settings = { estimator, directionStripes };
          const given = await measure(settings, { signed: false });
          const made = await measure(settings, {
            signed: true,
            ...(maxActivationElements && { maxActivationElements }),
          });
          assert.deepEqual(made.gradients, given.gradients);
          assert(Math.abs(made.loss / given.loss - 1) < 1e-6, `${made.loss}, given ${given.loss}`);
        });
});

describe('the loss that comes along', () => {
  for (const estimator of ['spsa', 'oneSided', 'forward', 'backward'] as const)
    it(`is that of the rows at θ (${estimator})`, async () => {
      const { loss } = await measure({ estimator, epsilon: 2 ** -12 });
      const expected = await lossAtTheta();
      // Float32 sums in another order; two steps of 2^-12 differ by its square times the curvature.
      assert(Math.abs(loss - expected) <= 1e-4 * expected, `${loss}, expected ${expected}`);
    });
});
