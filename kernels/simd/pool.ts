/** Threads that sum units for one update at a time; θ stays with the calling thread, which sums units too. */

import { setImmediate } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { spawnThread } from '../../platform/spawn-thread.ts';
import { BLOCK } from '../direction.ts';
import { type SimdInstance, UNIT_BLOCKS } from './instance.ts';
import type { Unit } from './units.ts';

/** Int32 words of a job's control array: the next unit nobody has claimed; how often a thread published; then a slot state per thread. */
export const CONTROL = { nextUnit: 0, published: 1, firstSlot: 2 } as const;

/** What a thread gets at its start. */
export interface ThreadData {
  readonly index: number;
  /** Int32 `[UNIT_BLOCKS · 64]`: sums of the unit that the slot's state names. */
  readonly slot: SharedArrayBuffer;
}

/** What a thread gets for each update. */
export interface Job {
  readonly units: readonly Unit[];
  /** A slot's state is 0: free, or u + 1: it holds the sums of unit u. */
  readonly control: SharedArrayBuffer;
}

export interface SimdPool {
  /** θ −= scale·S over all units. One call at a time. Returns how many units other threads summed; rejects when one died. */
  update(instance: SimdInstance, theta: Float32Array, units: readonly Unit[], scale: number): Promise<number>;
  close(): Promise<void>;
}

/** Time that the calling thread computes or waits before it looks at its events, ms. */
const BREATH_MS = 10;

export function startPool(size: number): SimdPool {
  let failure: Error | undefined;
  const slots: Int32Array[] = [];
  const threads: Worker[] = [];
  for (let index = 0; index < size; index++) {
    const slot = new SharedArrayBuffer(UNIT_BLOCKS * BLOCK * 4);
    slots.push(new Int32Array(slot));
    const workerData: ThreadData = { index, slot };
    const thread = spawnThread('./thread', import.meta.url, { workerData });
    thread.once('error', (error) => {
      failure = new Error(`a simd thread died: ${error.message}`, { cause: error });
    });
    threads.push(thread);
  }

  return {
    async update(instance, theta, units, scale) {
      const shared = new SharedArrayBuffer(4 * (CONTROL.firstSlot + size));
      const control = new Int32Array(shared);
      for (const thread of threads) thread.postMessage({ units, control: shared } satisfies Job);
      /** Applies what the threads published; returns the number of units. */
      const drain = (): number => {
        let applied = 0;
        slots.forEach((slot, index) => {
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
      let breath = performance.now();
      let byOthers = 0;
      for (let done = 0; done < units.length; ) {
        const published = Atomics.load(control, CONTROL.published);
        const drained = drain();
        byOthers += drained;
        done += drained;
        const unit = units[Atomics.add(control, CONTROL.nextUnit, 1)];
        if (unit) {
          instance.sum(unit.plan, unit.range);
          instance.apply(theta, unit.range, scale);
          done++;
        } else if (done < units.length) {
          Atomics.wait(control, CONTROL.published, published, BREATH_MS);
        }
        if (performance.now() - breath > BREATH_MS) {
          await setImmediate();
          if (failure) throw failure;
          breath = performance.now();
        }
      }
      return byOthers;
    },

    async close() {
      await Promise.all(threads.map((thread) => thread.terminate()));
    },
  };
}
