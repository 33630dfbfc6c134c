/** A thread of the simd backend: claims units of an update, sums them and hands the sums over. Its entry point is pool.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { SimdInstance } from './instance.ts';
import { CONTROL, type Job, type ThreadData } from './pool.ts';

const { index, slot } = workerData as ThreadData;
const sums = new Int32Array(slot);
const instance = new SimdInstance(0);
const state = CONTROL.firstSlot + index;

parentPort!.on('message', ({ units, control: shared }: Job) => {
  const control = new Int32Array(shared);
  for (;;) {
    const claimed = Atomics.add(control, CONTROL.nextUnit, 1);
    const unit = units[claimed];
    if (!unit) return;
    instance.sum(unit.plan, unit.range);
    for (let held = Atomics.load(control, state); held !== 0; held = Atomics.load(control, state))
      Atomics.wait(control, state, held);
    sums.set(instance.sums);
    Atomics.store(control, state, claimed + 1);
    Atomics.add(control, CONTROL.published, 1);
    Atomics.notify(control, CONTROL.published);
  }
});
