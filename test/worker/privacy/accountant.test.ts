/** What contributions cost, against figures of a published library (test/golden/privacy/make.py). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  addDivergences,
  divergencesOf,
  epsilonOf,
  MOST_NOISE,
  noDivergence,
  noiseFor,
} from '../../../worker/privacy/accountant.ts';
import { goldenFiles } from '../../support/onebyte.ts';

interface Case {
  readonly samplingRate: number;
  readonly noise: number;
  readonly contributions: number;
  readonly delta: number;
  /** ε of the library by Rényi divergences, and by privacy loss distributions, its tightest. */
  readonly renyi: number;
  readonly lossDistribution: number;
}

const golden = join(goldenFiles, 'privacy/epsilon.json');
const cases: readonly Case[] = JSON.parse(readFileSync(golden, 'utf8'));
const epsilon = (cost: Case): number =>
  epsilonOf(addDivergences(noDivergence(), divergencesOf(cost), cost.contributions), cost.delta);

describe('the accountant', () => {
  for (const cost of cases) {
    const { samplingRate, noise, contributions, delta, renyi, lossDistribution } = cost;
    it(`gives ε ${renyi} for rate ${samplingRate}, noise ${noise}, ${contributions} contributions, δ ${delta}`, () => {
      // The library knows more orders of Rényi divergence: 0.7 % at most.
      assert(Math.abs(epsilon(cost) / renyi - 1) < 0.02, `${epsilon(cost)}`);
      assert(epsilon(cost) >= lossDistribution, 'a bound');
    });
  }

  it('adds up contributions of different noise and rate', () => {
    const [few, many] = [
      { samplingRate: 0.1, noise: 1.2 },
      { samplingRate: 0.02, noise: 1.5 },
    ].map(divergencesOf) as [Float64Array, Float64Array];
    const both = addDivergences(addDivergences(noDivergence(), few, 40), many, 100);
    const alone = epsilonOf(addDivergences(noDivergence(), few, 40), 1e-5);
    assert(epsilonOf(both, 1e-5) > alone);
    assert.equal(epsilonOf(noDivergence(), 1e-5), 0);
  });

  for (const [epsilon, rate, contributions] of [
    [1, 0.016, 200],
    [4, 0.1, 40],
    [8, 1, 100],
  ] as const)
    it(`finds the least noise for ε ${epsilon} at rate ${rate}`, () => {
      const noise = noiseFor({ epsilon, delta: 1e-5 }, rate, contributions)!;
      const spent = (factor: number): number => {
        const one = divergencesOf({ samplingRate: rate, noise: factor * noise });
        return epsilonOf(addDivergences(noDivergence(), one, contributions), 1e-5);
      };
      assert(spent(1) <= epsilon);
      assert(spent(0.998) > epsilon, 'a thousandth less is too little');
    });

  it('finds none where the budget is spent', () => {
    const spent = addDivergences(noDivergence(), divergencesOf({ samplingRate: 0.1, noise: 1 }), 40);
    assert.equal(noiseFor({ epsilon: 5, delta: 1e-5 }, 0.1, 1, spent), undefined);
  });

  it('finds none that a ledger would not take', () => {
    const noise = (contributions: number) => noiseFor({ epsilon: 0.03, delta: 1e-8 }, 1, contributions);
    assert.deepEqual([noise(1e6)! < MOST_NOISE, noise(1e12)], [true, undefined]);
  });
});
