/** The mechanism: what leaves, and how far one row moves it. All randomness is seeded. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { type AdapterLayout, adapterLayout } from '../../../kernels/adapter-layout.ts';
import { seedKey } from '../../../kernels/random-keys.ts';
import { referenceBackend } from '../../../kernels/reference.ts';
import { initialReplica } from '../../../kernels/replica.ts';
import type { Forward } from '../../../model/runtime/forward.ts';
import type { TokenRow } from '../../../model/token-row.ts';
import { DECODED_512, isAbstention } from '../../../proto/e4m3.ts';
import { Learning } from '../../../proto/run-config.ts';
import { gradientBytes } from '../../../worker/estimators/contribution.ts';
import type { EstimatorContext } from '../../../worker/estimators/estimator.ts';
import { Scratch } from '../../../worker/estimators/scratch.ts';
import { noiseFor } from '../../../worker/privacy/accountant.ts';
import { addClipped, addNoise, drawRows, type Mechanism, privateGradients } from '../../../worker/privacy/mechanism.ts';
import { secretRandom } from '../../../worker/privacy/random-source.ts';

const small = adapterLayout([{ name: 'one', rank: 2, fanIn: 37, fanOut: 11, scale: 2 }]);
const rowOf = (slope: number): TokenRow => ({ ids: [0, slope], labels: [1] });

/** Of 64 blocks of directions. */
const larger = adapterLayout([{ name: 'one', rank: 2, fanIn: 2000, fanOut: 48, scale: 2 }]);

interface Chosen {
  readonly directionStripes?: Learning['directionStripes'];
  readonly layout?: AdapterLayout;
}

/** The contribution of `shard` as gradients and as bytes. A row's gradient is its last id in every element. */
async function contribute(
  shard: readonly TokenRow[],
  mechanism: Mechanism,
  directions: number,
  { directionStripes = 1, layout = small }: Chosen = {},
) {
  const gradientIsId = {
    gradient: async (rows: readonly TokenRow[]) => new Float32Array(layout.elements).fill(rows[0]!.ids[1]!),
  } as unknown as Forward;
  const learning = Learning.parse({ directions, directionStripes, estimator: 'backward' });
  const rule = { ...learning, decayRounds: 0, seedKey: seedKey(5) };
  const [backend, scratch] = [referenceBackend, new Scratch(referenceBackend)];
  const context: EstimatorContext = { learning, rule, layout, backend, forward: gradientIsId, scratch, worker: 3 };
  const replica = initialReplica(rule, new Float32Array(layout.elements));
  const gradients = await privateGradients(context, replica, 0, shard, mechanism, seedrandom('a'));
  return { gradients, bytes: gradientBytes(context, replica, 0, gradients) };
}

const norm = (values: Iterable<number>): number => Math.hypot(...values);
const valuesOf = (bytes: Iterable<number>): number[] => [...bytes].map((byte) => DECODED_512[byte]! / 512);

describe('the bytes of a private contribution', () => {
  for (const shard of [[], [0, 0, 0, 0].map(rowOf)])
    it(`of ${shard.length === 0 ? 'an empty draw' : 'rows without a slope'} are noise of the stated standard deviation`, async () => {
      const mechanism = { clip: 0.5, noise: 1.5, expectedRows: 4, samplingRate: 1 };
      const { bytes } = await contribute(shard, mechanism, 2048);
      const values = valuesOf(bytes);
      const stated = (1.5 * 0.5 * Math.sqrt(2048)) / 4;
      const deviation = norm(values) / Math.sqrt(values.length);
      // 2,048 numbers: their deviation has an error of 1.6 %, of which three; E4M3's rounding adds 0.1 %.
      assert(Math.abs(deviation / stated - 1) < 0.05, `${deviation}, stated ${stated}`);
      const beyond = values.filter((value) => Math.abs(value) > 2 * stated).length / values.length;
      // A normal distribution has 4.6 % there, with an error of 0.5 %.
      assert(Math.abs(beyond - 0.046) < 0.015, `${beyond} beyond two deviations`);
    });

  it('move by no more than the clip when a huge row is put in, however huge', async () => {
    const mechanism = { clip: 2, noise: 0.01, expectedRows: 1, samplingRate: 1 };
    const shard = [1, 1].map(rowOf);
    const { gradients: without } = await contribute(shard, mechanism, 16);
    for (const huge of [50, 1e6, 1e30]) {
      const { gradients } = await contribute([...shard, rowOf(huge)], mechanism, 16);
      const moved = norm(gradients.map((g, k) => g - without[k]!));
      assert(Math.abs(moved - 2 * Math.sqrt(16)) < 1e-6, `moved by ${moved}`);
    }
    const { gradients } = await contribute([...shard, rowOf(1e-3)], mechanism, 16);
    assert(norm(gradients.map((g, k) => g - without[k]!)) < 1, 'a small row is not made larger');
  });

  it('are cut and hidden alike with stripes, of which a direction meets one: a clip is of the gradient, whatever their number', async () => {
    const row = rowOf(1);
    const length = Math.sqrt(larger.elements);
    for (const directionStripes of [1, 4, 16] as const) {
      const share = async (clip: number): Promise<number> => {
        const mechanism = { clip, noise: 1e-12, expectedRows: 1, samplingRate: 1 };
        const { gradients } = await contribute([row], mechanism, 512, { directionStripes, layout: larger });
        return norm(gradients) / Math.sqrt(512 / directionStripes);
      };
      // 512 slopes tell the norm to 3 %, of which three.
      assert(Math.abs((await share(1e9)) / length - 1) < 0.1, 'not cut');
      assert(Math.abs((await share(length / 2)) / (length / 2) - 1) < 1e-6, 'cut to half');
      const noise = { clip: 3, noise: 2, expectedRows: 1, samplingRate: 1 };
      const { gradients } = await contribute([], noise, 512, { directionStripes, layout: larger });
      assert(Math.abs(norm(gradients) / Math.sqrt(512) / (6 * Math.sqrt(512 / directionStripes)) - 1) < 0.1);
    }
  });

  it('do not abstain for a row whose slopes are not finite: it adds nothing', async () => {
    const mechanism = { clip: 2, noise: 0.01, expectedRows: 1, samplingRate: 1 };
    const one = await contribute([rowOf(1)], mechanism, 8);
    const { gradients, bytes } = await contribute([rowOf(1), rowOf(Number.NaN)], mechanism, 8);
    assert.deepEqual(gradients, one.gradients);
    assert.equal([...bytes].some(isAbstention), false);
  });

  it('are divided by the expected number of rows, whatever was drawn', async () => {
    const mechanism = { clip: 1e9, noise: 1e-12, expectedRows: 5, samplingRate: 1 };
    const [one, three] = await Promise.all([1, 3].map((n) => contribute(Array(n).fill(rowOf(1)), mechanism, 4)));
    three!.gradients.forEach((g, k) => {
      assert(Math.abs(g - 3 * one!.gradients[k]!) < 0.01, `${g}`);
    });
  });
});

describe('secret rows', () => {
  it('are each drawn with the rate, apart from each other', () => {
    const random = seedrandom('rows');
    const draws = Array.from({ length: 2000 }, () => drawRows(50, 0.1, random));
    for (let row = 0; row < 50; row += 7) {
      const share = draws.filter((drawn) => drawn.includes(row)).length / draws.length;
      // The error of a share is 0.7 %, of which four.
      assert(Math.abs(share - 0.1) < 0.028, `row ${row}: ${share}`);
    }
    const pairs = draws.filter((drawn) => drawn.includes(3) && drawn.includes(4)).length / draws.length;
    assert(Math.abs(pairs - 0.01) < 0.01, `two rows together: ${pairs}`);
    // 0.9^50 = 0.5 % of the draws are empty.
    assert(draws.some(({ length }) => length === 0));
    assert(draws.every((drawn) => drawn.every((row, i) => row < 50 && (i === 0 || row > drawn[i - 1]!))));
  });

  it('are all there at rate 1', () => assert.deepEqual(drawRows(3, 1, seedrandom('')), [0, 1, 2]));

  it('come from numbers between 0 and 1, never those themselves, that do not repeat', () => {
    const random = secretRandom();
    const numbers = Array.from({ length: 5000 }, random);
    assert(numbers.every((u) => u > 0 && u < 1));
    assert.equal(new Set(numbers).size, numbers.length);
  });

  it('are between 0 and 1 whatever the bits of the system are', (test) => {
    test.after(syncBuiltinESMExports);
    for (const bit of [0, 255]) {
      test.mock.method(crypto, 'randomFillSync', (words: BigUint64Array) => new Uint8Array(words.buffer).fill(bit));
      syncBuiltinESMExports();
      const u = secretRandom()();
      assert(u > 0 && u < 1, `${u}`);
      test.mock.restoreAll();
    }
  });
});

describe('a membership attack on a planted row, by the likelihood ratio of all contributions', () => {
  const [epsilon, delta, samplingRate, contributions, games] = [2, 1e-5, 0.2, 20, 4000];

  /** Scores of the attack where the row is there, and where it is not. */
  function scores(isThere: boolean, told: number, real: number, seed: string): number[] {
    const random = seedrandom(seed);
    const mechanism = { clip: 1, noise: real, expectedRows: 1, samplingRate };
    const row = Float64Array.of(30, -10, 20, 0);
    const length = norm(row);
    return Array.from({ length: games }, () => {
      let score = 0;
      for (let i = 0; i < contributions; i++) {
        const sum = new Float64Array(4);
        if (isThere) for (const _ of drawRows(1, samplingRate, random)) addClipped(sum, row, 1);
        addNoise(sum, mechanism, random);
        // Along the row, in clips.
        const x = sum.reduce((dot, g, k) => dot + (g * row[k]!) / length, 0) / 2;
        score += Math.log1p(samplingRate * Math.expm1((2 * x - 1) / (2 * told * told)));
      }
      return score;
    });
  }

  /** Largest log of (true positives − δ) / false positives over thresholds, each taken at the cautious end of its error. */
  function measuredEpsilon(noise: number): number {
    const told = noiseFor({ epsilon, delta }, samplingRate, contributions)!;
    const [members, others] = [scores(true, told, noise, 'in'), scores(false, told, noise, 'out')];
    const part = (all: readonly number[], threshold: number): number =>
      all.filter((score) => score > threshold).length / games;
    const sure = (p: number, errors: number): number => p + errors * Math.sqrt((p * (1 - p) + 1 / games) / games);
    const thresholds = members.toSorted((a, b) => a - b).filter((_, i) => i % 40 === 0);
    return Math.max(
      ...thresholds
        .map((at) => Math.log((sure(part(members, at), -3) - delta) / sure(part(others, at), 3)))
        .filter(Number.isFinite),
    );
  }

  it('stays within what ε allows', () => {
    const noise = noiseFor({ epsilon, delta }, samplingRate, contributions)!;
    const measured = measuredEpsilon(noise);
    assert(measured < epsilon, `${measured}`);
    assert(measured > epsilon / 8, `${measured} is no attack`);
  });

  it('finds noise that is a third of what is stated', () => {
    const noise = noiseFor({ epsilon, delta }, samplingRate, contributions)!;
    const measured = measuredEpsilon(noise / 3);
    assert(measured > epsilon, `${measured}`);
  });
});
