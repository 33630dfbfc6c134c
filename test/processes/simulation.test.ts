/** What a simulation gives its workers. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { deviceFlags } from '../../processes/simulation.ts';

it('deals workers out over the GPUs where CUDA may run them, unless the run file names one', () => {
  const device = (...options: Parameters<typeof deviceFlags>) => deviceFlags(...options)[1];
  assert.equal(device(3, { provider: 'cuda' }, 2), 'worker.device=1');
  assert.equal(device(2, { provider: 'auto' }, 2), 'worker.device=0');
  assert.equal(device(1, { provider: 'cuda', device: 0 }, 2), undefined);
  assert.equal(device(1, { provider: 'cuda' }, 1), undefined);
  assert.equal(device(1, { provider: 'cpu' }, 2), undefined);
  assert.equal(device(1, { provider: 'webgpu' }, 2), undefined);
});
