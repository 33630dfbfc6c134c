/** Finds the tensor that makes a model's losses not finite. Reads all weights: for the error message only. */
import { closeSync, openSync, readSync } from 'node:fs';
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

function firstNotFinite({ file, dtype, offset, bytes }: WeightTensor): { element: number; nan: boolean } | undefined {
  const mask = EXPONENTS[dtype]!;
  const size = dtype === 'F32' ? 4 : 2;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const fd = openSync(file, 'r');
  try {
    for (let at = 0; at < bytes; ) {
      const read = readSync(fd, chunk, 0, Math.min(CHUNK_BYTES, bytes - at), offset + at);
      if (read === 0) throw usageError(`${file}: ends at byte ${offset + at} while it is read`);
      for (let i = 0; i + size <= read; i += size) {
        const bits = size === 4 ? chunk.readUInt32LE(i) : chunk.readUInt16LE(i);
        if ((bits & mask) === mask) return { element: (at + i) / size, nan: (bits & ((mask & -mask) - 1)) !== 0 };
      }
      at += read - (read % size);
    }
    return undefined;
  } finally {
    closeSync(fd);
  }
}
