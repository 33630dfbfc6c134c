/** The data of a tensor whose place an opened safetensors file states. */
import { closeSync } from 'node:fs';
import { openRegular, readAt } from '../platform/regular-file.ts';
import { usageError } from '../proto/operating-error.ts';
import { isFloatDtype, toFloat32 } from './float-formats.ts';
import type { Safetensors, StoredTensor } from './safetensors.ts';

/**
 * The bytes of `tensor` of `file`, in pieces of at most `chunkBytes`; each piece is the caller's and begins at offset 0 of its buffer.
 * @throws OperatingError (usage) where the file became shorter since its header was read
 */
export function* tensorChunks(file: string, tensor: StoredTensor, chunkBytes: number): Generator<Uint8Array> {
  const fd = openRegular(file);
  try {
    for (let at = 0; at < tensor.bytes; at += chunkBytes) {
      const chunk = new Uint8Array(Math.min(chunkBytes, tensor.bytes - at));
      if (readAt(fd, chunk, tensor.offset + at) < chunk.length)
        throw usageError(`${file}: became shorter while it was read`);
      yield chunk;
    }
  } finally {
    closeSync(fd);
  }
}

/** The whole of tensor `name` as float32 (F32, BF16 and F16 are exact). @throws OperatingError (usage) for other dtypes */
export function readFloat32(from: Safetensors, name: string, tensor: StoredTensor): Float32Array {
  const { dtype, bytes } = tensor;
  if (!isFloatDtype(dtype)) throw usageError(`${from.file}: tensor ${name} is ${dtype}, expected F32, BF16 or F16`);
  const [whole] = tensorChunks(from.file, tensor, Math.max(bytes, 1));
  return toFloat32(dtype, whole ?? new Uint8Array(0));
}
