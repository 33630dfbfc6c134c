/** Threads that share the units of one operation at a time with the calling thread, with which θ stays. */
import { setImmediate } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { spawnThread } from '../../platform/spawn-thread.ts';
import { BLOCK } from '../direction.ts';
import { type SimdInstance, UNIT_BLOCKS } from './instance.ts';
import type { ProjectedPart, Projection } from './projection.ts';
import type { Unit } from './units.ts';

/** Int32 words of a job's control array: the next unit nobody has claimed; how often a thread published; then a slot state per thread. */
export const CONTROL = { nextUnit: 0, published: 1, firstSlot: 2 } as const;

/** What a thread gets at its start. */
export interface ThreadData {
  readonly index: number;
  /** Int32 `[UNIT_BLOCKS · 64]`: sums of the unit that the slot's state names. */
  readonly slot: SharedArrayBuffer;
}

/** What a thread gets for each operation: units are numbered from 0, and whoever is free claims the next. */
export type Job = SumJob | ProjectJob;

/** One part of an update. */
export interface SumJob {
  readonly kind: 'sum';
  readonly units: readonly Unit[];
  /** A slot's state is 0: free, or u + 1: it holds the sums of unit u. */
  readonly control: SharedArrayBuffer;
}

/** One part of dot products with directions; a unit is a part of the elements. */
export interface ProjectJob {
  readonly kind: 'project';
  readonly projection: Projection;
  readonly parts: readonly ProjectedPart[];
  /** float32 `[d]`. */
  readonly gradient: SharedArrayBuffer;
  /** float64 `[parts, directions]`. */
  readonly sums: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
}

/** Time that the calling thread computes or waits before it looks at its events, ms. */
export const BREATH_MS = 10;

/** One call at a time; it rejects when a thread died. */
export class SimdPool {
  private readonly slots: readonly Int32Array[];
  private readonly threads: readonly Worker[];
  private failure: Error | undefined;

  constructor(size: number) {
    const slots = Array.from({ length: size }, () => new SharedArrayBuffer(UNIT_BLOCKS * BLOCK * 4));
    this.slots = slots.map((slot) => new Int32Array(slot));
    this.threads = slots.map((slot, index) => {
      const workerData: ThreadData = { index, slot };
      const thread = spawnThread('./thread', import.meta.url, { workerData });
      thread.once('error', (error) => {
        this.failure = new Error(`a simd thread died: ${error.message}`, { cause: error });
      });
      return thread;
    });
  }

  /** θ −= scale·S over all units. Returns how many units other threads summed. */
  update(instance: SimdInstance, theta: Float32Array, units: readonly Unit[], scale: number): Promise<number> {
    const shared = this.newControl();
    const control = new Int32Array(shared);
    /** Applies what the threads published; returns the number of units. */
    const drain = (): number => {
      let applied = 0;
      this.slots.forEach((slot, index) => {
        const state = Atomics.load(control, CONTROL.firstSlot + index);
        if (state === 0) return;
        const { range } = units[state - 1]!;
        instance.sums.set(slot);
        Atomics.store(control, CONTROL.firstSlot + index, 0);
        Atomics.notify(control, CONTROL.firstSlot + index);
        instance.apply(theta, range, scale);
        applied++;
      });
      return applied;
    };
    const own = (u: number): void => {
      const { plan, range } = units[u]!;
      instance.sum(plan, range);
      instance.apply(theta, range, scale);
    };
    return this.share({ kind: 'sum', units, control: shared }, units.length, own, drain);
  }

  /** The sums of each part, `[parts, directions]`. Takes 4·d bytes of shared memory while it runs. */
  async project(
    instance: SimdInstance,
    gradient: Float32Array,
    projection: Projection,
    parts: readonly ProjectedPart[],
  ): Promise<Float64Array> {
    const shared = new SharedArrayBuffer(gradient.byteLength);
    new Float32Array(shared).set(gradient);
    const sums = new SharedArrayBuffer(8 * parts.length * projection.directions);
    const control = this.newControl();
    let seen = 0;
    const drain = (): number => {
      const before = seen;
      seen = Atomics.load(new Int32Array(control), CONTROL.published);
      return seen - before;
    };
    const own = (part: number): void =>
      instance.project(projection, gradient, parts[part]!, sumsOf(sums, projection, part));
    const job = { kind: 'project', projection, parts, gradient: shared, sums, control } as const;
    await this.share(job, parts.length, own, drain);
    return new Float64Array(sums);
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }

  private newControl(): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (CONTROL.firstSlot + this.threads.length));
  }

  /**
   * Gives `units` units of `job` to whoever claims them. own: does one on the calling thread; drain: takes what the threads
   * published since, and returns how many units that were. Returns how many units other threads did.
   */
  private async share(job: Job, units: number, own: (unit: number) => void, drain: () => number): Promise<number> {
    const control = new Int32Array(job.control);
    for (const thread of this.threads) thread.postMessage(job);
    let breath = performance.now();
    let byOthers = 0;
    for (let done = 0; done < units; ) {
      const published = Atomics.load(control, CONTROL.published);
      const drained = drain();
      byOthers += drained;
      done += drained;
      const unit = Atomics.add(control, CONTROL.nextUnit, 1);
      if (unit < units) {
        own(unit);
        done++;
      } else if (done < units) {
        Atomics.wait(control, CONTROL.published, published, BREATH_MS);
      }
      if (performance.now() - breath > BREATH_MS) {
        await setImmediate();
        if (this.failure) throw this.failure;
        breath = performance.now();
      }
    }
    return byOthers;
  }
}

/** The sums of one part among those of all, a view. */
export const sumsOf = (sums: ArrayBufferLike, { directions }: Projection, part: number): Float64Array =>
  new Float64Array(sums, 8 * part * directions, directions);
