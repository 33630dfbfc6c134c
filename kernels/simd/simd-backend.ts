/** The WebAssembly SIMD backend: updates and dot products on any number of threads, perturbed adapters on the calling one. */
import { setImmediate } from 'node:timers/promises';
import { assertExactSum, type Backend, type Term } from '../backend.ts';
import { SimdInstance } from './instance.ts';
import { planUpdate } from './plan.ts';
import { BREATH_MS, SimdPool, sumsOf } from './pool.ts';
import { type ProjectedPart, type Projection, planProjection } from './projection.ts';
import { projectionParts, unitsOf } from './units.ts';

/** Sign-additions below which other threads are not worth waking. */
const WORTH_THREADS = 4e6;

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
      pool ??= new SimdPool(threads - 1);
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

  /** `[parts, directions]` */
  async function projectParts(
    gradient: Float32Array,
    projection: Projection,
    parts: readonly ProjectedPart[],
  ): Promise<Float64Array> {
    const { directions, stripes } = projection;
    if (threads > 1 && (directions * gradient.length) / stripes > WORTH_THREADS) {
      pool ??= new SimdPool(threads - 1);
      return await pool.project(own, gradient, projection, parts);
    }
    const sums = new Float64Array(parts.length * directions);
    for (const [p, part] of parts.entries())
      own.project(projection, gradient, part, sumsOf(sums.buffer, projection, p));
    return sums;
  }

  async function project(gradient: Float32Array, projection: Projection): Promise<Float64Array> {
    const { directions } = projection;
    const parts = projectionParts(gradient.length);
    const sums = await projectParts(gradient, projection, parts);
    const total = new Float64Array(directions);
    for (let p = 0; p < parts.length; p++) for (let k = 0; k < directions; k++) total[k]! += sums[p * directions + k]!;
    return total;
  }

  /** One operation at a time: they share threads and work space. */
  function inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const run = last.then(operation);
    last = run.then(
      () => undefined,
      () => undefined, // the caller gets the error
    );
    return run;
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

    perturb: (p, scratch) => inTurn(async () => home(scratch).perturb(p, scratch)),

    update: (theta, terms, scale, stripes) => inTurn(() => update(theta, terms, scale, stripes)),

    project: (gradient, roundKey, firstDirection, directions, stripes) =>
      inTurn(() => project(gradient, planProjection(roundKey, firstDirection, directions, stripes))),

    signs: (...directions) => inTurn(async () => own.signs(...directions)),

    async close() {
      await last;
      await pool?.close();
      pool = undefined;
    },
  };
}
