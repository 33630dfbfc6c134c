/** Which execution provider runs the forward pass, and what to do where the one that is asked for is not there. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { nvidiaGpus } from '../../platform/nvidia.ts';
import { OperatingError, usageError } from '../../proto/operating-error.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { holdingModel } from './device-memory.ts';
import { onDevice } from './session.ts';

export type Provider = 'cpu' | 'webgpu' | 'cuda';

const ADVICE: Readonly<Record<Provider, string>> = {
  cpu: '',
  webgpu:
    'WebGPU needs a GPU with a Vulkan, Metal or Direct3D 12 driver (on Linux: libvulkan1 and the driver of the GPU); or take provider: cpu',
  cuda:
    "CUDA needs an NVIDIA GPU of compute capability 7.5 to 9.0 or 12 with its driver, CUDA 13, cuDNN 9, and ONNX Runtime's CUDA provider, which is not in the npm package: " +
    'run "bash node_modules/onebyte/scripts/install-cuda.sh" (docs/gpu.md), which says what else is missing; or take provider: cpu',
};

/** @throws OperatingError (usage) that says what the provider needs where it does not work on its device here */
export async function requireProvider(provider: Provider, device?: number): Promise<void> {
  if (provider === 'cpu') return;
  try {
    await holdingModel(() => runOneNode(provider, device));
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw usageError(
      `provider ${provider} is not usable on this machine (${reasonIn(error as Error)}). ${ADVICE[provider]}`,
    );
  }
}

/** Providers of the GPUs that the system shows: looking for one that is not there would only make drivers complain. */
export function gpuProviders(): Provider[] {
  if (process.platform !== 'linux') return ['webgpu'];
  return nvidiaGpus() > 0 ? ['cuda', 'webgpu'] : existsSync('/dev/dri') ? ['webgpu'] : [];
}

/** Runs a graph of one node there. @throws Error that says why it does not run */
async function runOneNode(provider: Provider, device: number | undefined): Promise<void> {
  const library = provider === 'cuda' ? cudaLibrary() : undefined;
  if (provider === 'cuda' && library === undefined)
    throw new Error('the CUDA libraries of ONNX Runtime are not installed');
  const graph = new GraphBuilder([]);
  graph.output(graph.node('Neg', [graph.input('x', 'float32', [1])]), 'y', [1]);
  try {
    // Severity 4: what fails is said once, where it is caught.
    const options = { executionProviders: [onDevice({ provider, device })], logSeverityLevel: 4 } as const;
    const session = await InferenceSession.create(graph.serialize(), options);
    // A card that the provider holds no kernels for is found when one is launched.
    await session.run({ x: new Tensor('float32', new Float32Array(1), [1]) }).finally(() => session.release());
  } catch (error) {
    const isMissing = library !== undefined && (error as Error).message.includes('Failed to load shared library');
    throw isMissing ? new Error(whyNotLoaded(library)) : error;
  }
}

/** What failed, without the C++ around it: `CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version`. */
export function reasonIn({ message }: Error): string {
  // Behind its first semicolon ONNX Runtime says where in its sources.
  const [line = ''] = (/\bCU[A-Z]+ failure [^;\n]*/.exec(message)?.[0] ?? message).split('\n');
  return line
    .replace(/^.* was false\. /, '')
    .slice(0, 300)
    .trim();
}

/** What the system's loader says of a library that does not load; ONNX Runtime's own error leaves that out. */
export function whyNotLoaded(library: string): string {
  try {
    process.dlopen({ exports: {} }, library);
    return `${library} does not load`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** ONNX Runtime's provider, which `scripts/install-cuda.sh` lays beside what npm installs. */
function cudaLibrary(): string | undefined {
  const binaries = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '..', 'bin');
  const files = readdirSync(binaries, { recursive: true, encoding: 'utf8' });
  const file = files.find((file) => /onnxruntime_providers_cuda\.(so|dll)$/.test(file));
  return file && join(binaries, file);
}
