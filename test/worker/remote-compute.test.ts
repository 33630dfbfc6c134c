/** The compute in its thread: calls end when it does. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ownModule } from '../../platform/own-module.ts';
import { startCompute } from '../../worker/remote-compute.ts';

it('a call of a thread that ends, loading or idle, is rejected', async () => {
  const compute = startCompute();
  const files = { modelDirectory: '', trainFiles: [], devFile: undefined };
  const loading = compute.create({ ...files, config: {} as never, ownData: false, settings: {} as never, threads: 1 });
  await Promise.all([assert.rejects(loading), compute.terminate()]);
  await assert.rejects(compute.digest(), /the compute thread ended/);
});

it('ends a process with its exit code while a pass of ONNX Runtime runs', () => {
  const { url, isSource } = ownModule(new URL('../support/ended-compute', import.meta.url));
  const script = [...(isSource ? ['--import', 'tsx'] : []), fileURLToPath(url)];
  const { status, signal, stderr } = spawnSync(process.execPath, script, { encoding: 'utf8' });
  assert.deepEqual([status, signal, stderr], [3, null, '']);
});
