/** gpu.js, opened in one mode, and the compiled computations of the gpu backend. Imports gpu.js when it is first opened. */
import type { GPUFunction } from 'gpu.js';
import { integerFunctions, PRODUCTS, perturbedOf, sumsOf, TERM_COLUMNS, WORDS, WORDS_OF_ONE } from './kernel-source.ts';

export type GpuMode = 'webgpu' | 'webasm' | 'cpu';

/** One term as the kernels read it. `[TERM_COLUMNS]` */
export type TermRow = Float32Array;

export interface GpuDevice {
  readonly mode: GpuMode;
  /** Σ q·z of `terms.length` terms for `blocks` blocks: float32 `[64 · blocks]`. terms, q: the same length. */
  sums(blocks: number, terms: readonly TermRow[], q: Float32Array): Promise<Float32Array>;
  /** g·z of `terms.length` terms over `blocks` blocks: `[terms]`. gradient: `[64 · blocks]`. */
  products(blocks: number, terms: readonly TermRow[], gradient: Float32Array): Promise<Float64Array>;
  /** θ + step·z and θ − step·z, float32 `[64 · blocks]` each. theta: `[64 · blocks]`. */
  perturbed(blocks: number, theta: Float32Array, term: TermRow): Promise<readonly [Float32Array, Float32Array]>;
  close(): Promise<void>;
}

/** Opens gpu.js. Throws when `mode` is webgpu and there is no adapter. */
export async function openGpu(mode: GpuMode): Promise<GpuDevice> {
  if (mode === 'webgpu') await provideWebGpu();
  const { GPU } = await import('gpu.js');
  if (mode === 'webgpu' && !(await GPU.isWebGPUAvailable())) throw new Error('no WebGPU adapter answered');
  const gpu = new GPU({ mode });
  for (const { source, argumentNames } of integerFunctions()) {
    const argumentTypes = Object.fromEntries(argumentNames.map((name) => [name, 'Integer' as const]));
    const text = source as unknown as GPUFunction; // gpu.js declares functions and takes their text as well
    gpu.addFunction(text, { returnType: 'Integer', argumentTypes });
  }
  const kernel = (source: string, output: number[], loopMaxIterations = 1) => {
    const made = gpu.createKernel(source, { output, strictIntegers: true, asyncMode: true });
    made.setLoopMaxIterations(loopMaxIterations);
    return made;
  };

  const sums = remember((blocks: number, n: number) => {
    const words = kernel(WORDS, [4 * blocks, n]);
    const sum = kernel(sumsOf(n), [64 * blocks], n);
    return gpu.createPipeline((terms, q) => sum(words(terms) as never, q as never));
  });
  const products = remember((blocks: number, n: number) => {
    const words = kernel(WORDS, [4 * blocks, n]);
    const product = kernel(PRODUCTS, [blocks, n], 64);
    return gpu.createPipeline((terms, gradient) => product(words(terms) as never, gradient as never));
  });
  const perturbed = remember((blocks: number) => {
    const words = kernel(WORDS_OF_ONE, [4 * blocks]);
    const sides = kernel(perturbedOf(blocks), [2 * 64 * blocks]);
    return gpu.createPipeline((theta, terms) => sides(theta as never, words(terms) as never, terms as never));
  });

  return {
    mode,
    async sums(blocks, terms, q) {
      return (await sums(blocks, terms.length)(terms as never, q)) as Float32Array;
    },
    async products(blocks, terms, gradient) {
      const parts = (await products(blocks, terms.length)(terms as never, gradient)) as Float32Array[];
      return Float64Array.from(parts, (ofBlocks) => ofBlocks.reduce((sum, part) => sum + part, 0));
    },
    async perturbed(blocks, theta, term) {
      const both = (await perturbed(blocks, 0)(theta, [term] as never)) as Float32Array;
      return [both.subarray(0, both.length / 2), both.subarray(both.length / 2)];
    },
    close: () => gpu.destroy(),
  };
}

/** The compiled computation for each size that was asked for: sizes are powers of two, so there are few. */
function remember<T>(make: (blocks: number, n: number) => T): (blocks: number, n: number) => T {
  const made = new Map<string, T>();
  return (blocks, n) => {
    const key = `${blocks}/${n}`;
    const found = made.get(key) ?? make(blocks, n);
    made.set(key, found);
    return found;
  };
}

/** Gives Node.js a `navigator.gpu`: gpu.js looks for it there. */
async function provideWebGpu(): Promise<void> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const host = globalThis as { navigator?: object };
  host.navigator ??= {};
  if (!('gpu' in host.navigator))
    Object.defineProperty(host.navigator, 'gpu', { value: create([]), configurable: true });
}

/** A 32-bit word as two floats: high half, low half. */
const halves = (word: number): [number, number] => [word >>> 16, word & 0xffff];

/** The row of a term under `key`, for the blocks first, first + stride, …; step: for `perturbed`. */
export function termRow(
  key: readonly [number, number],
  direction: number,
  first: number,
  stride: number,
  step: number,
): TermRow {
  const row = new Float32Array(TERM_COLUMNS);
  row.set([...halves(key[0]), ...halves(key[1]), ...halves(direction), ...halves(first), stride, step]);
  return row;
}
