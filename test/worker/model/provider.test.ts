/** Providers: the numbers of WebGPU where an adapter is installed, and what is said where one is not. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { OperatingError } from '../../../proto/operating-error.ts';
import { resolveProvider } from '../../../worker/model/provider.ts';
import { assertGolden, fixtures } from '../../support/golden-models.ts';

// SwiftShader, a GPU in software: the Debian packages chromium and libvulkan1.
const softwareAdapter = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (existsSync(softwareAdapter)) {
  process.env.VK_ICD_FILENAMES ??= softwareAdapter;
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
}

const reason = await resolveProvider('webgpu').then(
  () => undefined,
  (error: Error) => error.message,
);

describe('the WebGPU provider', { skip: reason === undefined ? false : `no adapter here: ${reason}` }, () => {
  // exp, tanh and division of a GPU are not correctly rounded: the fixtures' own tolerances, not the strict ones.
  for (const fixture of fixtures())
    for (const variant of Object.keys(fixture.golden.variants))
      it(`gives the losses, logits and option likelihoods of transformers: ${fixture.name}, ${variant}`, async () => {
        const { nll_abs: nll, logits_abs: logit } = fixture.golden.tolerance;
        const options = { provider: 'webgpu', threads: 1, quantize: 'none' } as const;
        await assertGolden(fixture, variant, options, { nll, logit });
      });
});

describe('a provider that is not there', () => {
  it('is refused with what it needs', async () => {
    // No test machine has CUDA's libraries beside ONNX Runtime: they are not in the npm package.
    if ((await resolveProvider('auto')) === 'cuda') return;
    await assert.rejects(resolveProvider('cuda'), (error) => {
      assert(error instanceof OperatingError);
      assert.equal(error.exitCode, 2);
      assert.match(error.message, /provider cuda is not usable .* CUDA 12, cuDNN 9.*onnxruntime-node-install=cuda12/);
      return true;
    });
  });
  it('is not taken by auto', async () => {
    assert(['cpu', 'webgpu', 'cuda'].includes(await resolveProvider('auto')));
  });
});
