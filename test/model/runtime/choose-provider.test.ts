/** `auto`: the provider that is fastest here, by a pass on each. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBaseModel } from '../../../model/base-model.ts';
import { chooseProvider, fastestOf, secondsOfPass } from '../../../model/runtime/choose-provider.ts';
import { gpuProviders } from '../../../model/runtime/provider.ts';
import { goldenFiles } from '../../support/onebyte.ts';
import { skipWithoutWebGpu } from '../../support/web-gpu.ts';

const skip = await skipWithoutWebGpu();
const model = openBaseModel(join(goldenFiles, 'models/llama'));

describe('auto', () => {
  it('takes the fastest and says what each took', async () => {
    const chosen = await fastestOf(['webgpu', 'cpu'], async (provider) => (provider === 'cpu' ? 0.5 : 0.125));
    assert.equal(chosen.provider, 'webgpu');
    assert.match(chosen.reason, /^the fastest by .*: webgpu 125 ms, cpu 500 ms$/);
  });
  it('tries WebGPU only where CUDA does not run', async () => {
    const seconds = { cuda: 1, webgpu: 0.125, cpu: 0.5 };
    const chosen = await fastestOf(['cuda', 'webgpu', 'cpu'], async (provider) => seconds[provider]);
    assert.match(chosen.reason, /: cuda 1000 ms, cpu 500 ms$/);
    const without = await fastestOf(['cuda', 'webgpu', 'cpu'], async (provider) => {
      if (provider === 'cuda') throw new Error('no driver');
      return seconds[provider];
    });
    assert.match(without.reason, /: cuda does not run here \(no driver\), webgpu 125 ms, cpu 500 ms$/);
  });
  it('says why a GPU is left out', async () => {
    const chosen = await fastestOf(['cuda', 'cpu'], async (provider) => {
      if (provider === 'cuda') throw new Error('no driver');
      return 1;
    });
    assert.equal(chosen.provider, 'cpu');
    assert.match(chosen.reason, /cuda does not run here \(no driver\), cpu 1000 ms$/);
  });
  it('fails where the CPU fails too', async () => {
    const failing = fastestOf(['webgpu', 'cpu'], (provider) => Promise.reject(new Error(`${provider} fails`)));
    await assert.rejects(failing, /cpu fails/);
  });
  it('measures nothing where the system shows no GPU', { skip: gpuProviders().length > 0 }, async () => {
    const chosen = await chooseProvider('auto', model, { threads: 1, precisionOn: () => 'float32' });
    assert.deepEqual(chosen, {
      provider: 'cpu',
      precision: 'float32',
      memory: undefined,
      place: 'cpu',
      reason: 'cpu: the system shows no GPU',
    });
  });
  it('opens no GPU that has not what the settings ask for, and says so', async () => {
    const bfloat16 = { threads: 1, precisionOn: (): 'bfloat16' => 'bfloat16' };
    assert.equal(
      (await chooseProvider('auto', model, bfloat16, ['webgpu'])).reason,
      'cpu in bfloat16: no bfloat16 on webgpu',
    );
    const int8 = { threads: 1, precisionOn: (): 'float32' => 'float32', int8Tangents: true };
    const { provider, reason } = await chooseProvider('auto', model, int8, ['cuda', 'webgpu']);
    assert.deepEqual([provider, reason], ['cpu', 'cpu: no int8 tangents on cuda or webgpu']);
  });
  it('does not take a GPU that is slower than the CPU', {
    skip,
  }, async () => {
    // A GPU in software on the same cores, behind a driver: slower by far.
    const chosen = await fastestOf(['webgpu', 'cpu'], (provider) => secondsOfPass(model, { provider, threads: 1 }));
    assert.equal(chosen.provider, 'cpu', chosen.reason);
    assert.match(chosen.reason, /webgpu [\d.e+]+ ms, cpu [\d.e+]+ ms$/);
  });
});
