/** A thread of the simd backend: claims units of an operation and hands their sums over. Its entry point is pool.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { SimdInstance } from './instance.ts';
import { CONTROL, type Job, type ProjectJob, type SumJob, sumsOf, type ThreadData } from './pool.ts';

const { index, slot } = workerData as ThreadData;
const sums = new Int32Array(slot);
const instance = new SimdInstance(0);
const state = CONTROL.firstSlot + index;

parentPort!.on('message', (job: Job) => (job.kind === 'sum' ? sumUnits(job) : projectParts(job)));

function sumUnits({ units, control: shared }: SumJob): void {
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
    publish(control);
  }
}

function projectParts({ projection, parts, gradient: shared, sums: all, control: words }: ProjectJob): void {
  const control = new Int32Array(words);
  const gradient = new Float32Array(shared);
  for (;;) {
    const claimed = Atomics.add(control, CONTROL.nextUnit, 1);
    const part = parts[claimed];
    if (!part) return;
    instance.project(projection, gradient, part, sumsOf(all, projection, claimed));
    publish(control);
  }
}

function publish(control: Int32Array): void {
  Atomics.add(control, CONTROL.published, 1);
  Atomics.notify(control, CONTROL.published);
}
