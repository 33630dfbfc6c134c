/** Finds the tensor that makes a model's losses not finite. Reads all weights: for the error message only. */
import { tensorChunks } from '../../formats/safetensors-data.ts';
import { type OperatingError, usageError } from '../../proto/operating-error.ts';
import type { BaseModel, WeightTensor } from '../base-model.ts';
import type { Precision } from '../graph/precision.ts';

const CHUNK_BYTES = 2 ** 22;
/** All exponent bits set: infinity or NaN. */
const EXPONENTS: Readonly<Record<string, number>> = { F32: 0x7f800000, BF16: 0x7f80, F16: 0x7c00 };

/** An error for a model whose loss is `loss` in that precision: names the first tensor with an infinite weight or NaN. */
export function explainLoss(model: BaseModel, loss: number, precision: Precision): OperatingError {
  for (const tensor of new Set(model.weights.values())) {
    const found = firstNotFinite(tensor);
    if (found !== undefined)
      return usageError(
        `${tensor.file}: tensor ${tensor.name} holds ${found.nan ? 'NaN' : 'an infinity'} at element ${found.element}`,
      );
  }
  const beyond =
    precision === 'float16'
      ? ' (worker.precision float16 holds magnitudes up to 65,504, which this model seems to leave; set worker.precision: bfloat16, or float32 for finite differences)'
      : '';
  return usageError(`${model.directory}: the loss of two tokens is ${loss}, though every weight is finite${beyond}`);
}

function firstNotFinite(tensor: WeightTensor): { element: number; nan: boolean } | undefined {
  const mask = EXPONENTS[tensor.dtype]!;
  const size = tensor.dtype === 'F32' ? 4 : 2;
  let first = 0;
  for (const { buffer, length } of tensorChunks(tensor.file, tensor, CHUNK_BYTES)) {
    const elements = size === 4 ? new Uint32Array(buffer) : new Uint16Array(buffer);
    const at = elements.findIndex((bits) => (bits & mask) === mask);
    if (at >= 0) return { element: first + at, nan: (elements[at]! & ((mask & -mask) - 1)) !== 0 };
    first += length / size;
  }
  return undefined;
}
