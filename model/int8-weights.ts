/**
 * Base weights in 8 bits: q = round(w / scale) + 128 with one scale per 64 weights of an output, weight-only. Made once from
 * the model's own files, block by block, and kept as a safetensors file in the user's cache directory, where the workers of
 * one machine share its pages.
 */
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type FloatDtype, toFloat32 } from '../formats/float-formats.ts';
import { openSafetensors } from '../formats/safetensors.ts';
import { tensorChunks } from '../formats/safetensors-data.ts';
import { type TensorToWrite, writeSafetensors } from '../formats/safetensors-writer.ts';
import { replaceFile } from '../platform/replace-file.ts';
import { adaptableLinears, type Linear } from './architecture.ts';
import type { BaseModel, WeightTensor } from './base-model.ts';
import { cacheDirectory } from './file-digest.ts';

/** Weights that share a scale. */
export const BLOCK = 64;
const ZERO_POINT = 128;
const LARGEST = 127;
/** Changes with anything above, so that an older file is not taken. */
const VERSION = 1;

/** One quantized weight: w[n][k] ≈ scales[n][k / 64] · (quantized[n][k / 64][k % 64] − 128). */
export interface Int8Weight {
  /** uint8 `[fanOut, blocks, 64]`; the last block is filled up with zeros. */
  readonly quantized: WeightTensor;
  /** float32 `[fanOut · blocks]`. */
  readonly scales: WeightTensor;
}

/** By the name of the weight in the description: every linear layer and the head. */
export type Int8Weights = ReadonlyMap<string, Int8Weight>;

/** Float32 elements that a product may expand at once: 16 MiB. */
const MAX_EXPANDED_ELEMENTS = 2 ** 22;

/** A weight cut into parts of neighbouring outputs: ONNX Runtime expands a whole one to float32 while it multiplies. */
export function int8Parts({ quantized, scales }: Int8Weight, fanIn: number, fanOut: number): Int8Weight[] {
  const blocks = Math.ceil(fanIn / BLOCK);
  const rows = Math.max(1, Math.floor(MAX_EXPANDED_ELEMENTS / (blocks * BLOCK)));
  const part = (tensor: WeightTensor, first: number, shape: readonly number[], rowBytes: number): WeightTensor => ({
    ...tensor,
    name: `${tensor.name}.${first}`,
    shape,
    offset: tensor.offset + first * rowBytes,
    bytes: shape[0]! * (tensor.bytes / tensor.shape[0]!),
  });
  return Array.from({ length: Math.ceil(fanOut / rows) }, (_, i) => {
    const first = i * rows;
    const count = Math.min(rows, fanOut - first);
    return {
      quantized: part(quantized, first, [count, blocks, BLOCK], blocks * BLOCK),
      scales: part(scales, first, [count * blocks], blocks * 4),
    };
  });
}

/** A weight to quantize; `stored` as in `Linear`. */
interface Source {
  readonly name: string;
  readonly tensor: WeightTensor;
  readonly fanIn: number;
  readonly fanOut: number;
  readonly stored: Linear['stored'];
}

/** Opens the model's quantized file, or makes it. */
export function int8Weights(model: BaseModel): Int8Weights {
  const sources = sourcesOf(model);
  const file = join(cacheDirectory(), 'int8', `${keyOf(sources)}.safetensors`);
  if (!existsSync(file)) replaceFile(file, (made) => writeSafetensors(made, sources.flatMap(quantizedTensors)));
  const { tensors } = openSafetensors(file);
  const weightOf = (name: string): WeightTensor => ({ ...tensors.get(name)!, name: `int8.${name}`, file });
  return new Map(
    sources.map(({ name }) => [name, { quantized: weightOf(`${name}.quantized`), scales: weightOf(`${name}.scales`) }]),
  );
}

function sourcesOf(model: BaseModel): Source[] {
  const { head, embedding, vocabularySize } = model.architecture;
  const linears = adaptableLinears(model.architecture).map(({ name, fanIn, fanOut, stored }) => ({
    name: `${name}.weight`,
    fanIn,
    fanOut,
    stored,
  }));
  const last = { name: head.name, fanIn: embedding.size, fanOut: vocabularySize, stored: 'out-in' as const };
  return [...linears, last].map((layer) => ({ ...layer, tensor: model.weights.get(layer.name)! }));
}

/** Where the weights lie, and the state of their files. */
function keyOf(sources: readonly Source[]): string {
  const hash = createHash('sha256').update(`${VERSION}\n${BLOCK}\n`);
  const files = new Map<string, string>();
  for (const { name, tensor } of sources) {
    const { file, offset, shape, dtype } = tensor;
    if (!files.has(file)) {
      const { size, mtimeNs } = statSync(file, { bigint: true });
      files.set(file, `${size} ${mtimeNs}`);
    }
    hash.update(`${JSON.stringify([name, file, files.get(file), offset, shape, dtype])}\n`);
  }
  return hash.digest('hex').slice(0, 32);
}

function quantizedTensors(source: Source): TensorToWrite[] {
  const { name, fanIn, fanOut } = source;
  const blocks = Math.ceil(fanIn / BLOCK);
  const scales = new Float32Array(fanOut * blocks);
  return [
    {
      name: `${name}.quantized`,
      dtype: 'U8',
      shape: [fanOut, blocks, BLOCK],
      *chunks() {
        let block = 0;
        for (const rows of outputs(source)) {
          yield quantizeRows(rows, fanIn, scales.subarray(block));
          block += (rows.length / fanIn) * blocks;
        }
      },
    },
    // Written after the weights that fill it.
    {
      name: `${name}.scales`,
      dtype: 'F32',
      shape: [scales.length],
      chunks: () => [new Uint8Array(scales.buffer)],
    },
  ];
}

/** The weights as rows of `fanIn`, one per output, some rows at a time. */
function* outputs({ tensor, fanIn, fanOut, stored }: Source): Generator<Float32Array> {
  const rowBytes = (tensor.bytes / (fanIn * fanOut)) * fanIn;
  const dtype = tensor.dtype as FloatDtype;
  if (stored === 'out-in') {
    const chunkBytes = rowBytes * Math.max(1, Math.floor(2 ** 22 / rowBytes));
    for (const chunk of tensorChunks(tensor.file, tensor, chunkBytes)) yield toFloat32(dtype, chunk);
    return;
  }
  const [whole] = tensorChunks(tensor.file, tensor, tensor.bytes);
  const columns = toFloat32(dtype, whole!);
  for (let out = 0; out < fanOut; out++)
    yield Float32Array.from({ length: fanIn }, (_, i) => columns[i * fanOut + out]!);
}

/** `rows` `[n, fanIn]` to `[n, blocks, 64]`, and their scales `[n · blocks]` to the front of `scales`. */
function quantizeRows(rows: Float32Array, fanIn: number, scales: Float32Array): Uint8Array {
  const blocks = Math.ceil(fanIn / BLOCK);
  const quantized = new Uint8Array((rows.length / fanIn) * blocks * BLOCK).fill(ZERO_POINT);
  let block = 0;
  for (let row = 0; row < rows.length; row += fanIn)
    for (let k = 0; k < fanIn; k += BLOCK, block++) {
      const end = Math.min(k + BLOCK, fanIn);
      let largest = 0;
      for (let i = k; i < end; i++) largest = Math.max(largest, Math.abs(rows[row + i]!));
      const scale = Math.fround(largest / LARGEST);
      scales[block] = scale;
      if (scale === 0) continue;
      for (let i = k; i < end; i++) quantized[block * BLOCK + i - k] = Math.round(rows[row + i]! / scale) + ZERO_POINT;
    }
  return quantized;
}
