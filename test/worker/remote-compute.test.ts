/** The compute in its thread: calls end when it does. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startCompute } from '../../worker/remote-compute.ts';

it('a call of a thread that ends, loading or idle, is rejected', async () => {
  const compute = startCompute();
  const files = { modelDirectory: '', trainFile: '', devFile: undefined };
  const loading = compute.create({ ...files, config: {} as never, ownData: false, settings: {} as never, threads: 1 });
  await Promise.all([assert.rejects(loading, /the compute thread ended/), compute.terminate()]);
  await assert.rejects(compute.digest(), /the compute thread ended/);
});
