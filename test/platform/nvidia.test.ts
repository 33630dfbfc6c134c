/** NVIDIA GPUs that a process may use. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { nvidiaGpus, turnOffTf32 } from '../../platform/nvidia.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('counts the device files, and of those what CUDA_VISIBLE_DEVICES leaves', () => {
  const devices = temporaryDirectory();
  assert.equal(nvidiaGpus({}, devices), 0);
  for (const name of ['nvidia0', 'nvidia1', 'nvidia2', 'nvidiactl', 'nvidia-uvm'])
    writeFileSync(join(devices, name), '');
  assert.equal(nvidiaGpus({}, devices), 3);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '0, 2' }, devices), 2);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '' }, devices), 0);
});

it('turns TF32 off unless the user has set it', () => {
  const env: NodeJS.ProcessEnv = {};
  turnOffTf32(env);
  assert.equal(env.NVIDIA_TF32_OVERRIDE, '0');
  const own: NodeJS.ProcessEnv = { NVIDIA_TF32_OVERRIDE: '1' };
  turnOffTf32(own);
  assert.equal(own.NVIDIA_TF32_OVERRIDE, '1');
});
