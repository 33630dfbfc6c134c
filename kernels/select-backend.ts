/** Which kernel backend a machine uses: chosen by name or by itself, and never one that does not give the reference's bits. */
import { availableParallelism } from 'node:os';
import { usageError } from '../proto/operating-error.ts';
import type { Backend } from './backend.ts';
import type { GpuMode } from './gpu/device.ts';
import { gpuBackend } from './gpu/gpu-backend.ts';
import { referenceBackend } from './reference.ts';
import { selfCheck } from './self-check.ts';
import { simdBackend } from './simd/simd-backend.ts';

/** `gpu`: gpu.js in mode webgpu where an adapter exists, else webasm. `auto` takes simd, or the reference where that fails. */
export const BACKEND_CHOICES = ['auto', 'reference', 'simd', 'gpu', 'gpu-webgpu', 'gpu-webasm', 'gpu-cpu'] as const;
export type BackendChoice = (typeof BACKEND_CHOICES)[number];

export interface SelectedBackend {
  readonly backend: Backend;
  /** One line for the user: what was picked, and why. */
  readonly reason: string;
}

/** Makes a backend; throws where it cannot run. */
export type BackendMaker = () => Backend | Promise<Backend>;

/**
 * The backend for `choice`, after a self-check against the reference. threads: 1 or more, the calling one included.
 * Throws OperatingError when a backend that was asked for by name cannot run here or fails its self-check.
 */
export function selectBackend(
  choice: BackendChoice,
  threads: number = availableParallelism(),
): Promise<SelectedBackend> {
  return selectFrom(candidates(choice, threads), choice);
}

/** Makers in order of preference. */
function candidates(choice: BackendChoice, threads: number): [string, BackendMaker][] {
  const simd: [string, BackendMaker] = [
    `simd, ${threads} thread${threads === 1 ? '' : 's'}`,
    () => simdBackend(threads),
  ];
  const gpu = (mode: GpuMode): [string, BackendMaker] => [`gpu.js, mode ${mode}`, () => gpuBackend(mode)];
  switch (choice) {
    case 'auto':
      return [simd, ['reference', () => referenceBackend]];
    case 'reference':
      return [['reference', () => referenceBackend]];
    case 'simd':
      return [simd];
    case 'gpu':
      return [gpu('webgpu'), gpu('webasm')];
    case 'gpu-webgpu':
      return [gpu('webgpu')];
    case 'gpu-webasm':
      return [gpu('webasm')];
    case 'gpu-cpu':
      return [gpu('cpu')];
  }
}

/** The first candidate that runs here and passes its self-check. Throws OperatingError when none does. */
export async function selectFrom(
  candidates: readonly (readonly [string, BackendMaker])[],
  choice: string,
): Promise<SelectedBackend> {
  const refused: string[] = [];
  for (const [name, make] of candidates) {
    let backend: Backend | undefined;
    try {
      backend = await make();
      const difference = await selfCheck(backend);
      if (difference === undefined) return { backend, reason: [`${name}: self-check passed`, ...refused].join('; ') };
      refused.push(`${name} refused: ${difference}`);
    } catch (error) {
      refused.push(`${name} cannot run here: ${error instanceof Error ? error.message : String(error)}`);
    }
    await backend?.close();
  }
  throw usageError(`kernel backend ${choice}: ${refused.join('; ')}. Choose another one, or auto`);
}
