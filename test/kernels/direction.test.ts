/** How many stripes a run has that names none. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assertStripes, chooseStripes } from '../../kernels/direction.ts';

describe('the stripes of a run that names none', () => {
  it('are the fewest with which a round takes 2^28 sign-additions', () => {
    const [tiny, smol] = [49_152, 2_442_240];
    assert.deepEqual(
      [chooseStripes(tiny, 32), chooseStripes(tiny, 5461), chooseStripes(tiny, 5462)],
      [1, 1, 4], // 49,152 · 5,461.3 = 2²⁸
    );
    assert.deepEqual(
      [16, 256, 1024, 4096].map((gradients) => chooseStripes(smol, gradients)),
      [1, 4, 16, 64],
    );
  });

  it('are no more than 64, than a 16th of the gradients of a round, and than blocks of 64 elements', () => {
    assert.equal(chooseStripes(1e9, 8192), 64);
    assert.deepEqual([chooseStripes(1e9, 63), chooseStripes(1e9, 64)], [1, 4]);
    assert.equal(chooseStripes(300, 1e9), 4);
  });
});

it('stripes are taken where each direction meets an element, and refused beyond', () => {
  assertStripes(4, 256);
  for (const [stripes, d] of [
    [4, 255],
    [2, 1_000],
  ] as const)
    assert.throws(() => assertStripes(stripes, d), /directionStripes .* expected one of 1, 4, 16, 64, 256 with 64 x/);
});
