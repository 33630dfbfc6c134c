/** Providers: the numbers of WebGPU where an adapter is installed, and what is said where one is not. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBaseModel } from '../../../model/base-model.ts';
import { createForward } from '../../../model/runtime/forward.ts';
import { resolveProvider } from '../../../model/runtime/provider.ts';
import { OperatingError } from '../../../proto/operating-error.ts';
import { readFixtureAdapter } from '../../support/fixture-adapter.ts';
import { assertGolden, fixtures, rowOf } from '../../support/golden-models.ts';

const models = fileURLToPath(new URL('../../golden/models', import.meta.url));

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

  // One family with RMS norms, one with layer norms: their slopes come from different nodes.
  for (const name of ['llama', 'opt'])
    it(`gives the slopes of the CPU: ${name}`, async () => {
      const directory = join(models, name);
      const model = openBaseModel(directory);
      const { layout, theta } = readFixtureAdapter(join(directory, 'adapter'), model);
      const rows = fixtures()
        .find((fixture) => fixture.name === name)!
        .golden.examples.map(rowOf);
      const direction = Float32Array.from(theta, (_, i) => (i % 3 === 0 ? 1 : -1));
      const [expected, got] = await Promise.all(
        (['cpu', 'webgpu'] as const).map(async (provider) => {
          const options = { provider, threads: 1, quantize: 'none', tangents: 'float32' } as const;
          const forward = await createForward(model, { layout }, options);
          const slopes = await forward.slopes(rows, theta, direction);
          await forward.close();
          return slopes;
        }),
      );
      got!.forEach((slope, row) => {
        const error = Math.abs(slope - expected![row]!);
        assert(error < 1e-3 * Math.max(1, Math.abs(slope)), `row ${row}: ${slope}, CPU ${expected![row]}`);
      });
    });

  it('is refused for tangents in int8', async () => {
    const options = { provider: 'webgpu', threads: 1, quantize: 'none', tangents: 'int8' } as const;
    const refused = createForward(openBaseModel(join(models, 'llama')), undefined, options);
    await assert.rejects(refused, /worker.tangentPrecision int8: the provider is webgpu, expected cpu/);
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
