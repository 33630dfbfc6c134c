/** Every backend against the reference, byte for byte, over odd sizes and all that a record can hold. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { type AdapterLayout, adapterLayout } from '../../kernels/adapter-layout.ts';
import { adaptersOf, type Backend, type Perturbation, PROJECTION_ERROR, type Term } from '../../kernels/backend.ts';
import { direction } from '../../kernels/direction.ts';
import { gpuBackend } from '../../kernels/gpu/gpu-backend.ts';
import { initialAdapter } from '../../kernels/initial-adapter.ts';
import { exponentInForce, type LearningRule, type Normaliser } from '../../kernels/learning-rule.ts';
import { roundKey, seedKey } from '../../kernels/random-keys.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import { applyRecord, bytesOf, initialReplica, replicaDigest } from '../../kernels/replica.ts';
import { SimdInstance } from '../../kernels/simd/instance.ts';
import { planUpdate } from '../../kernels/simd/plan.ts';
import { SimdPool } from '../../kernels/simd/pool.ts';
import { simdBackend } from '../../kernels/simd/simd-backend.ts';
import { unitsOf } from '../../kernels/simd/units.ts';
import { DECODED_512, isAbstention, LARGEST_512 } from '../../proto/e4m3.ts';
import type { Record } from '../../proto/gen/onebyte.ts';
import { STRIPES } from '../../proto/limits.ts';
import { recordOf } from '../../proto/record.ts';
import { useSoftwareAdapter } from '../support/software-adapter.ts';

const SEEDS = [0, 1, 2 ** 32 - 1, 2 ** 32 + 12345, 2 ** 53 - 1];
const random = seedrandom('kernels/backends');
const below = (n: number): number => Math.floor(random() * n);
const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;

const QS = DECODED_512.filter((_, byte) => !isAbstention(byte));
/** How the q of a case are drawn: decoded bytes, their extremes, requantised ones, anything allowed. */
const DRAWS: readonly (() => number)[] = [
  () => pick([...QS]),
  () => pick([LARGEST_512, -LARGEST_512, 1, -1, 0]),
  () => pick([...QS]) >> below(6),
  () => below(2 * LARGEST_512 + 1) - LARGEST_512,
];

function someTerms(n: number, draw = pick(DRAWS)): Term[] {
  return Array.from({ length: n }, () => ({
    roundKey: roundKey(seedKey(pick(SEEDS)), below(2 ** 31), below(1000)),
    direction: pick([0, below(100), 2 ** 32 - 1, below(2 ** 32)]),
    q: draw(),
  }));
}

/** float32 of all magnitudes, signed zeros among them. */
const someFloats = (array: Float32Array): Float32Array =>
  array.map(() => pick([0, -0, random() - 0.5, (random() - 0.5) * 1e-30, (random() - 0.5) * 1e9]));

const largestStripes = (d: number): (typeof STRIPES)[number][] => STRIPES.filter((m) => m === 1 || 64 * m <= d);

function someLayout(largest: number): AdapterLayout {
  const modules = Array.from({ length: 1 + below(4) }, (_, i) => ({
    name: `m${i}`,
    rank: 1 + below(9),
    fanIn: 1 + below(largest),
    fanOut: 1 + below(largest),
    scale: 1,
  }));
  return adapterLayout(modules, pick(['both', 'B'] as const));
}

function somePerturbation(layout: AdapterLayout): Perturbation {
  return {
    layout,
    theta: someFloats(new Float32Array(layout.elements)),
    roundKey: roundKey(seedKey(pick(SEEDS)), below(1000), below(1000)),
    firstDirection: pick([0, below(1000), 2 ** 32 - 9]),
    directions: 1 + below(8),
    step: Math.fround(pick([1e-2, 1, 1e-7])),
    stripes: pick(largestStripes(layout.elements)),
    sides: pick(['both', 'plus', 'plusOnly'] as const),
  };
}

const someRule = (): LearningRule => ({
  seedKey: seedKey(pick(SEEDS)),
  learningRate: 2e-3,
  decayRounds: 8,
  cap: 64,
  capExponent: pick([0.5, 1]),
  memory: 64,
  winsorise: pick(['byte', 'worker'] as const),
  window: 64,
  clip: 4,
  directionStripes: pick([1, 4] as const),
  maxStaleness: 3,
  initialExponent: 0,
});

/** Entries of all the staleness that can be decoded, with any bytes: largest, smallest, abstentions. */
function someRecord(round: number, normaliser: Normaliser): Record {
  const entries = normaliser.exponents.map((_, i) => ({
    staleness: normaliser.exponents.length - 1 - i,
    worker: below(5),
    firstDirection: below(100),
    gradientBytes: Buffer.from(Array.from({ length: 4 }, () => pick([below(256), 0x7e, 0xfe, 0x01, 0x7f]))),
  }));
  return recordOf(round, exponentInForce(normaliser), entries);
}

const copyInto = (target: Float32Array, source: Float32Array): Float32Array => {
  target.set(source);
  return target;
};

useSoftwareAdapter();
const noAdapter = await gpuBackend('webgpu').then(
  (backend) => backend.close().then(() => false as const),
  (error: Error) => `gpu-webgpu is not tested here: ${error.message}`,
);

interface Tested {
  readonly name: string;
  readonly make: () => Backend | Promise<Backend>;
  /** Random cases of each kind: gpu.js compiles a kernel for each size. */
  readonly cases: number;
  readonly skip?: false | string;
}

const backends: readonly Tested[] = [
  { name: 'simd on 1 thread', make: () => simdBackend(1), cases: 40 },
  { name: 'simd on 2 threads', make: () => simdBackend(2), cases: 40 },
  { name: 'simd on 5 threads', make: () => simdBackend(5), cases: 40 },
  { name: 'gpu-cpu', make: () => gpuBackend('cpu'), cases: 10 },
  { name: 'gpu-webasm', make: () => gpuBackend('webasm'), cases: 10 },
  { name: 'gpu-webgpu', make: () => gpuBackend('webgpu'), cases: 10, skip: noAdapter },
];

for (const { name, make, cases, skip } of backends)
  describe(name, { skip }, () => {
    let backend: Backend;
    before(async () => {
      backend = await make();
    });
    after(() => backend.close());

    async function checkUpdate(d: number, terms: Term[], stripes: number, scale: number): Promise<void> {
      const theta = someFloats(new Float32Array(d));
      const expected = theta.slice();
      await referenceBackend.update(expected, terms, scale, stripes);
      for (const actual of [copyInto(backend.allocate(d), theta), theta]) {
        await backend.update(actual, terms, scale, stripes);
        assert(
          Buffer.compare(bytesOf(actual), bytesOf(expected)) === 0,
          `update of ${d} elements with ${terms.length} terms, stripes ${stripes}`,
        );
      }
    }

    async function checkProjection(g: Float32Array, directions: number, stripes: number, error: number): Promise<void> {
      const key = roundKey(seedKey(pick(SEEDS)), below(1000), below(1000));
      const first = pick([0, below(1000), 2 ** 31 - 200]);
      const expected = await referenceBackend.project(g, key, first, directions, stripes);
      const actual = await backend.project(g, key, first, directions, stripes);
      assert.equal(actual.length, directions);
      const bound = error * Math.sqrt(g.reduce((sum, x) => sum + x * x, 0));
      expected.forEach((product, k) => {
        const message = `direction ${k} of ${directions}, ${g.length} elements, stripes ${stripes}`;
        assert(Math.abs(actual[k]! - product) <= bound, `${message}: ${actual[k]}, expected ${product} ± ${bound}`);
      });
    }

    it('updates θ to the bytes of the reference at every small size', async () => {
      for (const d of [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 255, 256, 257, 300])
        await checkUpdate(d, someTerms(1 + below(20)), pick(largestStripes(d)), random() * 1e-3);
    });

    it('updates θ to the bytes of the reference with any stripes, seeds and gradient bytes', async () => {
      for (let i = 0; i < cases; i++) {
        const d = 1 + below(40_000);
        await checkUpdate(d, someTerms(pick([1, 3, 4, 5, 8, 16, 60, 200])), pick(largestStripes(d)), random());
      }
    });

    it('updates θ to the bytes of the reference when several threads share the work', async () => {
      for (const stripes of [1, 4, 256] as const) await checkUpdate(200_003, someTerms(30 * stripes), stripes, 1e-5);
    });

    it('moves a replica through stale, extreme and absent bytes to the digest of the reference', async () => {
      const modules = [{ name: 'm', rank: 3, fanIn: 61, fanOut: 43, scale: 1 }];
      const rule = someRule();
      const theta = initialAdapter(7, modules);
      let expected = initialReplica(rule, theta.slice());
      let actual = initialReplica(rule, copyInto(backend.allocate(theta.length), theta));
      for (let round = 0; round < 8; round++) {
        const record = someRecord(round, expected.normaliser);
        expected = await applyRecord(expected, rule, record, referenceBackend);
        actual = await applyRecord(actual, rule, record, backend);
        assert(
          replicaDigest(actual).equals(replicaDigest(expected)),
          `round ${round}, stripes ${rule.directionStripes}`,
        );
      }
    });

    it('holds the largest sum and the largest number of terms that are allowed', async () => {
      await checkUpdate(
        65,
        someTerms(8192, () => below(2 * LARGEST_512 + 1) - LARGEST_512),
        1,
        1e-9,
      );
      const largest = { ...someTerms(1)[0]!, q: LARGEST_512 };
      await checkUpdate(65, Array(8192).fill(largest), 1, 1e-9);
      await checkUpdate(65, Array(8192).fill({ ...largest, q: -LARGEST_512 }), 1, 1e-9);
    });

    it('refuses terms whose sum could leave int32', async () => {
      const terms: Term[] = Array(9363).fill({ ...someTerms(1)[0]!, q: LARGEST_512 });
      await assert.rejects(backend.update(new Float32Array(1), terms, 1, 1), /exact up to 2147483647/);
    });

    it('projects a vector whose sums are exact onto directions as the reference does, to the bit', async () => {
      for (let i = 0; i < cases; i++) {
        const d = 1 + below(30_000);
        const gradient = new Float32Array(d).map(() => below(2001) - 1000);
        await checkProjection(gradient, pick([1, 3, 4, 5, 16, 70]), pick(largestStripes(d)), 0);
      }
    });

    it('projects a vector onto directions as the reference does, but for float32 sums of 64 elements', async () => {
      for (let i = 0; i < cases; i++) {
        const gradient = someFloats(new Float32Array(1 + below(30_000)));
        await checkProjection(gradient, pick([1, 4, 30]), pick(largestStripes(gradient.length)), PROJECTION_ERROR);
      }
      await checkProjection(someFloats(new Float32Array(130_003)), 64, 1, PROJECTION_ERROR);
    });

    it('makes the sign bits of the reference, of one block and of more than a unit of work', async () => {
      for (const d of [1, 64, 65, 64 * 17, 600_001]) {
        const key = roundKey(seedKey(pick(SEEDS)), below(1000), below(1000));
        const range = [key, pick([0, below(1000), 2 ** 32 - 9]), pick([1, 3]), d] as const;
        const [actual, expected] = [await backend.signs(...range), await referenceBackend.signs(...range)];
        assert(Buffer.compare(actual, expected) === 0, `${d} elements`);
      }
    });

    it('perturbs θ to the bytes of the reference at any layout, stripes and sides', async () => {
      for (let i = 0; i < cases; i++) {
        const p = somePerturbation(someLayout(pick([3, 70, 900])));
        const elements = adaptersOf(p) * p.layout.elements;
        const expected = new Float32Array(elements);
        await referenceBackend.perturb(p, expected);
        const own = copyInto(backend.allocate(p.theta.length), p.theta);
        for (const theta of [p.theta, own])
          for (const actual of [new Float32Array(elements), backend.allocate(elements)]) {
            await backend.perturb({ ...p, theta }, actual);
            assert(
              Buffer.compare(bytesOf(actual), bytesOf(expected)) === 0,
              `${elements} elements, stripes ${p.stripes}, ${p.sides}, ${p.layout.train}`,
            );
          }
      }
    });
  });

describe('a projection', () => {
  it('of the reference is the sum of the vector times the signs of the direction', async () => {
    const key = roundKey(seedKey(5), 3, 1);
    for (const stripes of [1, 4]) {
      const vector = new Float32Array(300).map(() => below(2001) - 1000);
      const products = await referenceBackend.project(vector, key, 7, 3, stripes);
      for (const [k, product] of products.entries()) {
        const z = direction(key, 7 + k, vector.length, stripes);
        assert.equal(
          product,
          vector.reduce((sum, x, i) => sum + x * z[i]!, 0),
        );
      }
    }
  });

  it('by simd has the same bits on any number of threads', async () => {
    const gradient = someFloats(new Float32Array(1_200_000));
    const key = roundKey(seedKey(5), 3, 1);
    const [expected, ...others] = await Promise.all(
      [1, 2, 5].map(async (threads) => {
        const backend = simdBackend(threads);
        const products = await backend.project(gradient, key, 0, 6, 1);
        await backend.close();
        return products;
      }),
    );
    for (const products of others) assert.deepEqual(products, expected);
  });
});

describe('sign bits', () => {
  it('are those of the directions', async () => {
    const [key, d] = [roundKey(seedKey(5), 3, 1), 150];
    const signs = await referenceBackend.signs(key, 7, 2, d);
    for (const k of [0, 1]) {
      const bytes = signs.subarray((k * signs.length) / 2);
      const z = direction(key, 7 + k, d, 1);
      assert.deepEqual(
        Int8Array.from(z, (_, i) => ((bytes[i >> 3]! >> (i & 7)) & 1 ? -1 : 1)),
        z,
      );
    }
  });
});

describe('a pool of simd threads', () => {
  it('sums units beside the calling thread, to the bytes of the reference', async () => {
    const pool = new SimdPool(2);
    const theta = new Float32Array(200_000);
    const expected = theta.slice();
    const terms = someTerms(40);
    const units = unitsOf(planUpdate(terms, 1), theta.length, 1);
    const instance = new SimdInstance(0);
    for (let byOthers = 0; byOthers === 0; ) {
      byOthers = await pool.update(instance, theta, units, 1e-6);
      await referenceBackend.update(expected, terms, 1e-6, 1);
      assert(Buffer.compare(bytesOf(theta), bytesOf(expected)) === 0);
    }
    await pool.close();
  });
});
