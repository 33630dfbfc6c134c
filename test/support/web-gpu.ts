/** Whether WebGPU runs here, on the software adapter where there is no other. */
import { requireProvider } from '../../model/runtime/provider.ts';
import { useSoftwareAdapter } from './software-adapter.ts';

/** The `skip` of tests that need it. */
export function skipWithoutWebGpu(): Promise<false | string> {
  useSoftwareAdapter();
  return requireProvider('webgpu').then(
    () => false,
    (error: Error) => `no adapter here: ${error.message}`,
  );
}
