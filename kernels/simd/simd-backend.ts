/** The WebAssembly SIMD backend: an update on any number of threads, perturbed adapters on the calling one. */
import { setImmediate } from 'node:timers/promises';
import { assertExactSum, type Backend, type Perturbation, type Term } from '../backend.ts';
import { SimdInstance } from './instance.ts';
import { planUpdate } from './plan.ts';
import { type SimdPool, startPool } from './pool.ts';
import { unitsOf } from './units.ts';

/** Sign-additions below which other threads are not worth waking. */
const WORTH_THREADS = 4e6;
/** The calling thread serves its other duties at least this often, ms. */
const BREATH_MS = 10;

/** threads: at least 1, the calling one included; any number gives the same bits. Throws when WebAssembly SIMD is missing. */
export function simdBackend(threads: number): Backend {
  const own = new SimdInstance(0);
  const instances = new WeakMap<ArrayBufferLike, SimdInstance>();
  const home = (array: Float32Array): SimdInstance => instances.get(array.buffer) ?? own;
  let pool: SimdPool | undefined;
  let last: Promise<void> = Promise.resolve();

  async function update(theta: Float32Array, terms: readonly Term[], scale: number, stripes: number): Promise<void> {
    assertExactSum(terms);
    const units = unitsOf(planUpdate(terms, stripes), theta.length, stripes);
    const instance = home(theta);
    if (threads > 1 && (terms.length * theta.length) / stripes > WORTH_THREADS) {
      pool ??= startPool(threads - 1);
      await pool.update(instance, theta, units, scale);
      return;
    }
    let breath = performance.now();
    for (const { plan, range } of units) {
      instance.sum(plan, range);
      instance.apply(theta, range, scale);
      if (performance.now() - breath > BREATH_MS) {
        await setImmediate();
        breath = performance.now();
      }
    }
  }

  return {
    name: 'simd',

    allocate(elements) {
      try {
        const instance = new SimdInstance(elements);
        instances.set(instance.array.buffer, instance);
        return instance.array;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return new Float32Array(elements); // beyond WebAssembly's 4 GiB: staged through tiles
      }
    },

    async perturb(p: Perturbation, scratch: Float32Array) {
      await last;
      home(scratch).perturb(p, scratch);
    },

    async update(theta, terms, scale, stripes) {
      const before = last;
      const run = before.then(() => update(theta, terms, scale, stripes));
      last = run.catch(() => undefined); // the caller gets the error
      await run;
    },

    async close() {
      await last;
      await pool?.close();
      pool = undefined;
    },
  };
}
