/** `onebyte bench forward`: where the nodes of a pass ran. Speeds are no business of a test. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { goldenFiles, lastJson, runOnebyte } from '../support/onebyte.ts';
import { skipWithoutWebGpu } from '../support/web-gpu.ts';

const skip = await skipWithoutWebGpu();

const bench = async (provider: string) => {
  const model = join(goldenFiles, 'models/llama');
  const small = ['--adapters', '2', '--directions', '2', '--runs', '1'];
  return lastJson(await runOnebyte('bench', 'forward', '--model', model, '--provider', provider, ...small, '--json'));
};

describe('onebyte bench forward', () => {
  it('names the provider, and no node that ran elsewhere', async () => {
    const { offProvider, settings } = await bench('cpu');
    assert.equal(settings.provider, 'cpu');
    assert.deepEqual(offProvider, []);
  });
  // It takes the software adapter a minute.
  if (process.env.ONEBYTE_NIGHTLY !== undefined)
    it('shows that WebGPU runs losses, slopes and gradients whole', {
      skip,
    }, async () => {
      const { offProvider, settings } = await bench('webgpu');
      assert.equal(settings.provider, 'webgpu');
      assert.deepEqual(offProvider, []);
    });
});
