/** Providers: the numbers of WebGPU where an adapter is installed, and what is said where one is not. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBaseModel } from '../../../model/base-model.ts';
import { createForward } from '../../../model/runtime/forward.ts';
import { type OperatorCount, profilePass } from '../../../model/runtime/profile.ts';
import { gpuProviders, reasonIn, requireProvider, whyNotLoaded } from '../../../model/runtime/provider.ts';
import { assertGolden, fixtures, onCpu, openGolden, withForward } from '../../support/golden-models.ts';
import { goldenFiles } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { skipWithoutWebGpu } from '../../support/web-gpu.ts';

const models = join(goldenFiles, 'models');

/** Everything ran on the provider, and nothing went to the host and came back. */
function assertWhole(on: readonly OperatorCount[], off: readonly OperatorCount[]): void {
  assert.deepEqual(off, []);
  assert(on.length > 0);
  assert(!on.some(({ op }) => op === 'MemcpyToHost'));
}

/** Each pass takes the software adapter some ten seconds to compile: what the other families add is for the nightly run. */
const NIGHTLY = process.env.ONEBYTE_NIGHTLY !== undefined;
const among = (...names: string[]) => fixtures().filter(({ name }) => NIGHTLY || names.includes(name));

const skip = await skipWithoutWebGpu();

describe('the WebGPU provider', { skip }, () => {
  // exp, tanh and division of a GPU are not correctly rounded: the fixtures' own tolerances, not the strict ones.
  for (const fixture of among('gpt2', 'gemma3'))
    for (const variant of Object.keys(fixture.golden.variants).filter((name) => name !== 'base'))
      it(`gives the losses, logits and option likelihoods of transformers, and runs whole: ${fixture.name}, ${variant}`, async () => {
        const { nll_abs: nll, logits_abs: logit } = fixture.golden.tolerance;
        const { on, off } = await profilePass('webgpu', async (profileDirectory) => {
          const options = { provider: 'webgpu', profileDirectory } as const;
          await assertGolden(fixture, variant, options, { nll, logit });
        });
        assertWhole(on, off);
      });

  // RMS norms, layer norms, soft caps, and each activation: their slopes come from different nodes.
  const withSlopes = ['models/llama', 'models/opt', ...(NIGHTLY ? ['models/gpt2', 'variations/gemma2_minimal'] : [])];
  for (const directory of withSlopes)
    it(`gives the slopes of the CPU, and runs whole: ${directory}`, async () => {
      const { rows, model, layout, theta } = openGolden(join(goldenFiles, directory));
      const direction = Float32Array.from(theta, (_, i) => (i % 3 === 0 ? 1 : -1));
      const slopes: Float64Array[] = [];
      for (const provider of ['cpu', 'webgpu'] as const) {
        const { on, off } = await profilePass(provider, async (profileDirectory) => {
          const options = { provider, tangents: 'float32', profileDirectory } as const;
          slopes.push(await withForward(model, { layout }, options, (f) => f.slopes(rows, theta, direction)));
        });
        assertWhole(on, off);
      }
      const [exact, got] = slopes;
      got!.forEach((slope, row) => {
        const error = Math.abs(slope - exact![row]!);
        assert(error < 1e-3 * Math.max(1, Math.abs(slope)), `row ${row}: ${slope}, CPU ${exact![row]}`);
      });
    });

  for (const { name } of among('llama'))
    it(`gives the gradients of the CPU, and runs whole: ${name}`, async () => {
      const { rows, model, layout, theta } = openGolden(join(models, name));
      const gradients: Float32Array[] = [];
      for (const provider of ['cpu', 'webgpu'] as const) {
        const { on, off } = await profilePass(provider, async (profileDirectory) => {
          const options = { provider, gradients: true, profileDirectory } as const;
          gradients.push(await withForward(model, { layout }, options, (f) => f.gradient(rows.slice(0, 2), theta)));
        });
        assertWhole(on, off);
      }
      const [exact, got] = gradients;
      const rms = Math.sqrt(exact!.reduce((sum, x) => sum + x * x, 0) / exact!.length);
      // exp, tanh and division of a GPU are not correctly rounded; measured: 1e-5 (llama).
      exact!.forEach((x, i) => {
        assert(Math.abs(got![i]! - x) < 1e-3 * rms, `element ${i}: ${got![i]}, CPU ${x}, rms ${rms}`);
      });
    });

  it('transposes no weight in a pass', async () => {
    const { on } = await profilePass('webgpu', async (profileDirectory) => {
      const options = { provider: 'webgpu', profileDirectory } as const;
      await withForward(openBaseModel(join(models, 'llama')), undefined, options, async () => {});
    });
    // In each of two layers query, key, value and what attention gives; the key's other one is merged into its own.
    assert.equal(on.find(({ op }) => op === 'Transpose')?.count, 2 * 4);
  });

  it('is refused for tangents in int8', async () => {
    const options = { ...onCpu, provider: 'webgpu', tangents: 'int8' } as const;
    const refused = createForward(openBaseModel(join(models, 'llama')), undefined, options);
    await assert.rejects(refused, /worker.tangentPrecision int8: the provider is webgpu, expected cpu/);
  });
});

describe('a provider that is not there', () => {
  // No test machine without a GPU has CUDA's libraries beside ONNX Runtime: they are not in the npm package.
  it('is refused with what it needs', { skip: gpuProviders().includes('cuda') }, async () => {
    await assert.rejects(requireProvider('cuda'), {
      name: 'OperatingError',
      exitCode: 2,
      message: /provider cuda is not usable .* CUDA 13, cuDNN 9.*install-cuda.sh/,
    });
  });
  it('is refused with what CUDA said, of all that ONNX Runtime 1.30 says of an old driver', () => {
    const call =
      'std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = void]';
    const source = '/onnxruntime_src/onnxruntime/core/providers/cuda';
    const failure = 'CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version';
    const message = `${source}/cuda_call.cc:154 ${call} ${source}/cuda_call.cc:146 ${call} ${failure} ; GPU=-1 ; hostname=vm ; file=${source}/cuda_execution_provider.cc ; line=352 ; expr=cudaSetDevice(info_.device_id); \n\n`;
    assert.equal(reasonIn(new Error(message)), failure);
    assert.equal(
      reasonIn(new Error('Failed to get a WebGPU adapter: No supported adapters\nat')),
      'Failed to get a WebGPU adapter: No supported adapters',
    );
  });
  it('is refused with what the loader says of its library', () => {
    const library = join(temporaryDirectory(), 'libonnxruntime_providers_cuda.so');
    writeFileSync(library, 'no library');
    assert.match(whyNotLoaded(library), /libonnxruntime_providers_cuda\.so: (file too short|invalid ELF header)/);
  });
});
