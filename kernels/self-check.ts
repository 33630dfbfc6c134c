/** A short proof, on the machine that will compute, that a backend gives the reference's bits. */
import { LARGEST_512 } from '../proto/e4m3.ts';
import { adapterLayout } from './adapter-layout.ts';
import { adaptersOf, type Backend, ownedCopy, type Perturbation, PROJECTION_ERROR, type Term } from './backend.ts';
import { initialAdapter } from './initial-adapter.ts';
import { roundKey, seedKey } from './random-keys.ts';
import { referenceBackend } from './reference.ts';
import { bytesOf } from './replica.ts';

/** 9 · 37 + 41 · 9 + 3 · 5 + 7 · 3: no tensor ends on a block of 64. */
const MODULES = [
  { name: 'a', rank: 9, fanIn: 37, fanOut: 41, scale: 1 },
  { name: 'b', rank: 3, fanIn: 5, fanOut: 7, scale: 1 },
];
const SEED = 2 ** 32 + 7;
/** Magnitudes from one unit to the largest, of both signs, with few and with many significant bits. */
const QS = [1, -LARGEST_512, 512 * 9, -512 * 13, LARGEST_512, -77, 123_457, 0, -4096];

/** Undefined when `backend` agrees with the reference to the bit; else what it gets wrong. Throws what the backend throws. */
export async function selfCheck(backend: Backend): Promise<string | undefined> {
  const layout = adapterLayout(MODULES);
  const theta = initialAdapter(SEED, MODULES);
  const key = roundKey(seedKey(SEED), 3, 5);
  const terms: Term[] = QS.map((q, direction) => ({ roundKey: key, direction, q }));
  const [signs, wanted] = await Promise.all(
    [backend, referenceBackend].map((backend) => backend.signs(key, 2 ** 32 - 3, 3, layout.elements)),
  );
  if (Buffer.compare(signs!, wanted!) !== 0) return 'signs differ from the reference';
  for (const stripes of [1, 4]) {
    const expected = theta.slice();
    const actual = ownedCopy(backend, theta);
    await referenceBackend.update(expected, terms, 1.1e-9, stripes);
    await backend.update(actual, terms, 1.1e-9, stripes);
    if (!equalBytes(actual, expected)) return `update differs from the reference (stripes ${stripes})`;
    const wanted = await referenceBackend.project(theta, key, 2 ** 31 - 6, 5, stripes);
    const got = await backend.project(theta, key, 2 ** 31 - 6, 5, stripes);
    const bound = PROJECTION_ERROR * Math.hypot(...theta);
    if (!wanted.every((g, k) => Math.abs(g - got[k]!) <= bound))
      return `project differs from the reference by more than rounding (stripes ${stripes})`;
    for (const sides of ['both', 'plus', 'plusOnly'] as const) {
      const p: Perturbation = {
        layout,
        theta: actual,
        roundKey: key,
        firstDirection: 2 ** 32 - 3,
        directions: 3,
        step: Math.fround(0.01),
        stripes,
        sides,
      };
      const wanted = new Float32Array(adaptersOf(p) * layout.elements);
      const got = backend.allocate(wanted.length);
      await referenceBackend.perturb(p, wanted);
      await backend.perturb(p, got);
      if (!equalBytes(got, wanted)) return `perturb differs from the reference (stripes ${stripes}, ${sides})`;
    }
  }
  return undefined;
}

const equalBytes = (a: Float32Array, b: Float32Array): boolean => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
