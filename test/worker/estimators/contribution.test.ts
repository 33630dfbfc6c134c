/** A contribution measured on a loss whose slope along every direction is known. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { adapterLayout, scratchOffset } from '../../../kernels/adapter-layout.ts';
import { direction } from '../../../kernels/direction.ts';
import { roundKey, seedKey } from '../../../kernels/random-keys.ts';
import { referenceBackend } from '../../../kernels/reference.ts';
import { initialReplica } from '../../../kernels/replica.ts';
import type { Forward } from '../../../model/runtime/forward.ts';
import { DECODED_512, isAbstention } from '../../../proto/e4m3.ts';
import { Learning } from '../../../proto/run-config.ts';
import { measureContribution } from '../../../worker/estimators/contribution.ts';
import type { EstimatorContext } from '../../../worker/estimators/estimator.ts';
import { Scratch } from '../../../worker/estimators/scratch.ts';

const layout = adapterLayout([
  { name: 'first', rank: 2, fanIn: 37, fanOut: 11, scale: 2 },
  { name: 'second', rank: 3, fanIn: 5, fanOut: 50, scale: 2 },
]);
const slope = Float64Array.from({ length: layout.elements }, (_, i) => ((i * 37) % 19) / 8 - 1);
const rows = [1, 2, 3].map((id) => ({ ids: [0, id], labels: [1] }));

/** slope · adapter g of the scratch buffer. */
function along(scratch: Float32Array, adapters: number, g: number): number {
  let sum = 0;
  for (const tensor of layout.tensors)
    for (let k = 0; k < tensor.elements; k++)
      sum += slope[tensor.offset + k]! * scratch[scratchOffset(tensor, adapters, g) + k]!;
  return sum;
}

/** Loss of every row: slope · θ, plus the row's first completion id. */
function linearLoss(adaptersPerRun: number): Forward {
  return {
    signed: false,
    chosen: { provider: 'cpu', precision: 'float32', place: 'cpu', reason: 'no model at all' },
    adaptersPerRun: (_, adapters) => Math.min(adapters, adaptersPerRun),
    directionsPerRun: (_, directions) => Math.min(directions, adaptersPerRun),
    async slopes(batch, theta, directions, losses) {
      losses?.set(batch.map(({ ids }) => ids[1]! + along(theta, 1, 0)));
      assert(directions instanceof Float32Array);
      const count = directions.length / theta.length;
      return Float64Array.from({ length: count * batch.length }, (_, i) =>
        along(directions, count, Math.floor(i / batch.length)),
      );
    },
    async gradient(batch, theta, losses) {
      losses?.set(batch.map(({ ids }) => ids[1]! + along(theta, 1, 0)));
      return Float32Array.from(slope);
    },
    async losses(batch, adapters, scratch) {
      return Float64Array.from({ length: adapters * batch.length }, (_, i) => {
        const g = Math.floor(i / batch.length);
        return batch[i % batch.length]!.ids[1]! + along(scratch!, adapters, g);
      });
    },
    lossesAround: () => Promise.reject(new Error('not used')),
    logits: () => Promise.reject(new Error('not used')),
    close: async () => {},
  };
}

function measure(settings: Partial<Learning>, adaptersPerRun = 1000, forward = linearLoss(adaptersPerRun)) {
  const learning = Learning.parse({ directions: 7, ...settings });
  const rule = { ...learning, decayRounds: 0, seedKey: seedKey(5) };
  const scratch = new Scratch(referenceBackend);
  const context: EstimatorContext = { learning, rule, layout, backend: referenceBackend, forward, scratch, worker: 3 };
  return measureContribution(context, initialReplica(rule, new Float32Array(layout.elements)), 14, rows);
}

describe('a contribution', () => {
  for (const estimator of ['spsa', 'oneSided', 'forward', 'backward'] as const)
    for (const directionStripes of [1, 4] as const)
      it(`holds the slope along each direction (${estimator}, stripes ${directionStripes})`, async () => {
        const { gradientBytes: bytes } = await measure({ estimator, directionStripes });
        assert.equal(bytes.length, 7);
        bytes.forEach((byte, j) => {
          const z = direction(roundKey(seedKey(5), 0, 3), 14 + j, layout.elements, directionStripes);
          const expected = slope.reduce((sum, c, i) => sum + c * z[i]!, 0);
          // E4M3 rounds to one of the two neighbours: at most 1/8 of the value, or a subnormal step.
          const got = DECODED_512[byte]! / 512;
          assert(
            Math.abs(got - expected) <= Math.abs(expected) / 8 + 2 ** -9,
            `direction ${j}: ${got}, expected ${expected}`,
          );
        });
      });

  for (const estimator of ['spsa', 'oneSided', 'forward'] as const)
    it(`is the same however many adapters one forward pass takes (${estimator})`, async () => {
      const whole = await measure({ estimator });
      for (const adaptersPerRun of [1, 2, 3, 5, 8]) {
        const { gradientBytes, loss } = await measure({ estimator }, adaptersPerRun);
        assert.deepEqual(gradientBytes, whole.gradientBytes);
        // A mean of means is rounded otherwise, in float64.
        assert(Math.abs(loss - whole.loss) < 1e-9, `${loss}, ${whole.loss} in one pass`);
      }
    });

  for (const estimator of ['spsa', 'oneSided', 'forward', 'backward'] as const)
    it(`tells the mean loss of its rows beside its bytes (${estimator})`, async () => {
      // θ is 0 and the loss is linear: it is the mean of 1, 2 and 3 there, and on both sides together.
      const { loss } = await measure({ estimator });
      // A step to the one side and one to the other are each rounded to float32.
      assert(Math.abs(loss - 2) < 1e-6, `${loss}`);
    });

  it('abstains where a loss is not finite, and only there', async () => {
    const forward = linearLoss(1000);
    const { losses } = forward;
    const broken: Forward = {
      ...forward,
      losses: async (...args) =>
        (await losses(...args)).map((loss, i) => (i === 2 * 2 * rows.length + 1 ? Number.NaN : loss)),
    };
    const { gradientBytes } = await measure({}, 1000, broken);
    assert.deepEqual([...gradientBytes].map(isAbstention), [false, false, true, false, false, false, false]);
  });
});
