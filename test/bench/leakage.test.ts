/** The attacks of `bench leakage` on rows that are made up here, so that what they should find is known. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { exposure } from '../../bench/leakage/canaries.ts';
import { addRatios, advantage, allowedAdvantage, areaUnderCurve, halves } from '../../bench/leakage/membership.ts';
import { mechanismOf } from '../../bench/private-worker.ts';
import { addClipped, addNoise, drawRows } from '../../worker/privacy/mechanism.ts';

describe('the membership attack', () => {
  const [directions, rounds, size, rows] = [64, 40, 20, 4];

  /** Scores of members and of as many strangers, whose slopes have all the same distribution. */
  function play(epsilon: number): [number[], number[]] {
    const random = seedrandom('play');
    const gaussian = (): number => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const mechanism = mechanismOf(epsilon, 1, { size, rows }, rounds);
    const ratios = new Float64Array(2 * size);
    for (let round = 0; round < rounds; round++) {
      // Fresh directions: no row's slopes tell those of the next round.
      const asked = Array.from({ length: 2 * size }, () => {
        const clipped = new Float64Array(directions);
        addClipped(clipped, Float64Array.from({ length: directions }, gaussian), mechanism.clip);
        return clipped;
      });
      const sum = new Float64Array(directions);
      for (const i of drawRows(size, mechanism.samplingRate, random)) addClipped(sum, asked[i]!, mechanism.clip);
      addRatios(ratios, asked, addNoise(sum, mechanism, random), mechanism);
    }
    return [[...ratios.slice(0, size)], [...ratios.slice(size)]];
  }

  it('finds nearly all members where nothing is added to the slopes', () => {
    const found = areaUnderCurve(...play(0));
    assert(found > 0.99, `${found}`);
  });

  it('stays within what ε allows where its noise is added', () => {
    const most = advantage(...play(1));
    // Guessing reaches 1.22·√(2 / 20) = 39 % in one of twenty such samples; ε = 1 allows 46 %.
    assert(most < allowedAdvantage(1), `${most}`);
  });

  it('asks for members and strangers of one kind, also where the rows of the file go by class', () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ ids: [i, i < 30 ? 1 : 2], labels: [1] }));
    const [members, strangers] = halves([...rows, ...rows], seedrandom('halves'));
    assert.equal(new Set([...members, ...strangers].map(({ ids }) => ids[0])).size, 60, 'every row once');
    for (const half of [members, strangers]) {
      assert.equal(half.length, 30);
      const ofFirst = half.filter(({ ids }) => ids[1] === 1).length;
      // 15 with an error of 2, of which three.
      assert(Math.abs(ofFirst - 15) < 7, `${ofFirst}`);
    }
  });
});

describe('the exposure of a canary', () => {
  const others = Array.from({ length: 4095 }, (_, i) => 1 + i);
  it('is all bits of its completions where it is the likeliest of them', () =>
    assert.equal(exposure([0.5, ...others]), 12));
  it('falls by a bit with each doubling of its rank', () =>
    assert.deepEqual(
      [2, 4, 4096].map((rank) => exposure([rank - 0.5, ...others])),
      [11, 10, 0],
    ));
  it('is none for an adapter that takes all for equally likely', () =>
    assert.equal(exposure(Array<number>(4096).fill(3)), 0));
});
