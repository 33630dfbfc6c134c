/** What happens where a device's memory does not hold a pass, which is cut into smaller ones as far as that goes, or the model. */
import { usageError } from '../../proto/operating-error.ts';
import type { ChosenProvider } from './choose-provider.ts';

/** Activations of a pass take an eighth of a device's memory; the rest is for weights, what kernels need, and other workers. */
const PASSES_PER_DEVICE = 8;
/** Taken for the memory of a GPU that does not tell it. */
const USUAL_MEMORY = 2 ** 33;
/** Of which one value takes half at most: CUDA kernels of ONNX Runtime count elements in 31 bits. */
const MOST_ELEMENTS = 2 ** 32;

/** Float32 elements of activations at once on the provider's device; undefined where tiles.ts says it, by the CPU's caches. */
export function activationsOf({
  provider,
  memory = USUAL_MEMORY,
}: Pick<ChosenProvider, 'provider' | 'memory'>): number | undefined {
  if (provider !== 'cuda') return undefined;
  return Math.min(MOST_ELEMENTS, memory / PASSES_PER_DEVICE / Float32Array.BYTES_PER_ELEMENT);
}

/** As ONNX Runtime's allocators (BFC arena), CUDA, Dawn and the C++ library say it. */
const MESSAGES =
  /failed to allocate memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED|exceeds the max buffer size|bad_?alloc/i;
const BYTES = /requested buffer of size (\d+)/;

/**
 * `attempt` with `limit` float32 elements of activations at once, then with half of them, and so on while memory does not suffice.
 * @param smallest elements below which nothing becomes smaller
 * @throws OperatingError (usage) that says how much was asked for last, and what to do
 */
export async function withinMemory<T>(
  limit: number,
  smallest: number,
  attempt: (limit: number) => Promise<T>,
): Promise<T> {
  for (let elements = limit; ; elements /= 2)
    try {
      return await attempt(elements);
    } catch (error) {
      const refused = refusalIn(error as Error);
      if (refused === undefined) throw error;
      if (elements / 2 >= smallest) continue;
      throw usageError(
        `the device's memory does not hold this pass in the smallest pieces: ${refused}; shorten data.maxLength, lower learning.rows, set worker.precision: bfloat16, run fewer workers on the device, or set worker.provider: cpu`,
        { cause: error },
      );
    }
}

/** `create` a session. @throws OperatingError (usage) that says what to do where memory does not hold the model */
export async function holdingModel<T>(create: () => Promise<T>): Promise<T> {
  try {
    return await create();
  } catch (error) {
    const refused = refusalIn(error as Error);
    if (refused === undefined) throw error;
    throw usageError(
      `the device's memory does not hold the model: ${refused}; set worker.precision: bfloat16, run fewer workers on the device, name another one (worker.device), set worker.provider: cpu (worker.quantize: int8 takes the least memory there), or take a smaller model`,
      { cause: error },
    );
  }
}

/** What was refused, by an error that says that memory does not suffice; else undefined. */
function refusalIn({ message }: Error): string | undefined {
  if (!MESSAGES.test(message)) return undefined;
  const bytes = BYTES.exec(message)?.[1];
  const asked = bytes === undefined ? 'a buffer' : `a buffer of ${Math.ceil(Number(bytes) / 2 ** 20)} MiB`;
  return `${asked} was refused (${message.split('\n')[0]!.slice(0, 200)})`;
}

/** Float32 elements of activations below which a pass is cut no further: 64 KiB, one short row of any model. */
const SMALLEST_ACTIVATIONS = 2 ** 14;

/** How many float32 elements of activations a pass has at once. */
export class ActivationRoom {
  /** Undefined: as tiles.ts says. */
  limit: number | undefined;

  constructor(limit: number | undefined) {
    this.limit = limit;
  }

  /** `run`, in smaller pieces from now on where the device's memory does not hold the ones so far. usual: the limit where none is set. */
  fitting<T>(usual: number, run: () => Promise<T>): Promise<T> {
    const first = this.limit ?? usual;
    return withinMemory(first, SMALLEST_ACTIVATIONS, (elements) => {
      if (elements < first) this.limit = elements;
      return run();
    });
  }
}
