/** What happens where a device's memory does not hold a pass: the pass is cut into smaller ones, as far as that goes. */
import { nvidiaMemory } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { SessionOptions } from './session.ts';

/** Activations of a pass take an eighth of a device's memory; the rest is for weights, what kernels need, and other workers. */
const PASSES_PER_DEVICE = 8;

/** Float32 elements of activations at once on the provider's device; undefined where tiles.ts says it, by the CPU's caches. */
export function activationsOf({ provider, device }: Pick<SessionOptions, 'provider' | 'device'>): number | undefined {
  const bytes = provider === 'cuda' ? nvidiaMemory(device ?? 0) : undefined;
  return bytes === undefined ? undefined : bytes / PASSES_PER_DEVICE / Float32Array.BYTES_PER_ELEMENT;
}

/** As ONNX Runtime's allocators (BFC arena), CUDA, Dawn and the C++ library say it. */
const MESSAGES =
  /failed to allocate memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED|exceeds the max buffer size|bad_?alloc/i;
const BYTES = /requested buffer of size (\d+)/;

/**
 * `attempt` with `limit` float32 elements of activations at once, then with half of them, and so on while memory does not suffice.
 * @param smallest elements below which nothing becomes smaller
 * @returns also the limit that sufficed
 * @throws OperatingError (usage) that says how much was asked for last, and what to do
 */
export async function withinMemory<T>(
  limit: number,
  smallest: number,
  attempt: (limit: number) => Promise<T>,
): Promise<{ readonly result: T; readonly limit: number }> {
  for (let elements = limit; ; elements /= 2)
    try {
      return { result: await attempt(elements), limit: elements };
    } catch (error) {
      const { message } = error as Error;
      if (!MESSAGES.test(message)) throw error;
      if (elements / 2 >= smallest) continue;
      const bytes = BYTES.exec(message)?.[1];
      const asked = bytes === undefined ? 'a buffer' : `a buffer of ${Math.ceil(Number(bytes) / 2 ** 20)} MiB`;
      throw usageError(
        `the device's memory does not hold this pass: ${asked} was refused with the smallest pieces (${message.split('\n')[0]!.slice(0, 200)}); shorten data.maxLength, lower learning.rows, set worker.precision: bfloat16, run fewer workers on the device, or set worker.provider: cpu`,
        { cause: error },
      );
    }
}
