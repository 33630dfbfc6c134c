/** NVIDIA GPUs that a process may use. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { nvidiaGpus, nvidiaMemory, prepareCuda } from '../../platform/nvidia.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

it('counts the device files, and of those what CUDA_VISIBLE_DEVICES leaves', () => {
  const devices = temporaryDirectory();
  assert.equal(nvidiaGpus({}, devices), 0);
  for (const name of ['nvidia0', 'nvidia1', 'nvidia2', 'nvidiactl', 'nvidia-uvm'])
    writeFileSync(join(devices, name), '');
  assert.equal(nvidiaGpus({}, devices), 3);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '0, 2' }, devices), 2);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '' }, devices), 0);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '-1' }, devices), 0);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: '1,3,0' }, devices), 1);
  assert.equal(nvidiaGpus({ CUDA_VISIBLE_DEVICES: 'GPU-5ebe9f43,GPU-b8a1c6d2' }, devices), 2);
  assert.equal(nvidiaGpus({}, join(devices, 'none')), 0);
});

it('counts what nvidia-smi lists on WSL2, which has no device files', () => {
  const [devices, bin] = [temporaryDirectory(), temporaryDirectory()];
  writeFileSync(join(devices, 'dxg'), '');
  assert.equal(nvidiaGpus({ PATH: bin }, devices), 0);
  const script = `#!/bin/sh\n[ "$1" = -L ] && echo 'GPU 0: NVIDIA A (UUID: GPU-1)' && echo 'GPU 1: NVIDIA B (UUID: GPU-2)'\n`;
  writeFileSync(join(bin, 'nvidia-smi'), script, { mode: 0o755 });
  assert.equal(nvidiaGpus({ PATH: bin }, devices), 2);
});

it("reads a device's memory from the driver's nvidia-smi, and knows nothing where there is none", () => {
  const bin = temporaryDirectory();
  assert.equal(nvidiaMemory(0, { PATH: bin }), undefined);
  // As nvidia-smi answers, a number of MiB for the GPU behind -i, and no number where it is not there.
  const script = `#!/bin/sh\ncase "$*" in *"-i 2") echo 81559;; *) echo No devices were found;; esac\n`;
  writeFileSync(join(bin, 'nvidia-smi'), script, { mode: 0o755 });
  assert.equal(nvidiaMemory(2, { PATH: bin }), 81559 * 2 ** 20);
  assert.equal(nvidiaMemory(1, { PATH: bin, CUDA_VISIBLE_DEVICES: '0, 2' }), 81559 * 2 ** 20);
  assert.equal(nvidiaMemory(0, { PATH: bin }), undefined);
});

it('turns TF32 off unless it is wanted, and counts GPUs by the bus, unless the user has set it otherwise', () => {
  const env: NodeJS.ProcessEnv = {};
  prepareCuda(true, env);
  assert.deepEqual(env, { CUDA_DEVICE_ORDER: 'PCI_BUS_ID' });
  prepareCuda(false, env);
  assert.deepEqual(env, { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', NVIDIA_TF32_OVERRIDE: '0' });
  const own: NodeJS.ProcessEnv = { NVIDIA_TF32_OVERRIDE: '1', CUDA_DEVICE_ORDER: 'FASTEST_FIRST' };
  prepareCuda(false, own);
  assert.deepEqual(own, { NVIDIA_TF32_OVERRIDE: '1', CUDA_DEVICE_ORDER: 'FASTEST_FIRST' });
});
