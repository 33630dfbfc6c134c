/** An adapter folded into its base model: a Hugging Face directory of the same files, dtypes and shards. */
import { strict as assert } from 'node:assert';
import { constants, copyFileSync, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { DTYPE_BYTES, fromFloat32, isFloatDtype, toFloat32 } from '../formats/float-formats.ts';
import { readPeftAdapter } from '../formats/peft-adapter.ts';
import { openSafetensors, type StoredTensor } from '../formats/safetensors.ts';
import { tensorChunks } from '../formats/safetensors-data.ts';
import { type TensorToWrite, writeSafetensors } from '../formats/safetensors-writer.ts';
import { makeDirectory } from '../platform/durable-directory.ts';
import { syncPath } from '../platform/make-directories.ts';
import type { AdapterModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import type { BaseModel } from './base-model.ts';

export interface MergeResult {
  /** Weights that the adapter changed. */
  readonly merged: number;
  /** Files of the base model's directory that were left out: weights in other formats, directories. */
  readonly leftOut: readonly string[];
}

/** scale · B·A as the product of two row-major matrices, in the orientation of the stored weight. */
interface LowRank {
  readonly rank: number;
  readonly scale: number;
  /** `[rows, rank]` */
  readonly left: Float32Array;
  /** `[rank, columns]` */
  readonly right: Float32Array;
  readonly columns: number;
}

const CHUNK_BYTES = 2 ** 23;
/** Weights of the unmerged model in formats that are not read. */
const OTHER_WEIGHTS = new Set(['.safetensors', '.bin', '.pt', '.pth', '.gguf', '.h5', '.msgpack', '.onnx', '.ot']);

/**
 * Makes the directory `out`: W + scale · B·A for every adapted layer, summed in float64, rounded to float32 and from there to
 * nearest (ties to even) in the weight's own dtype; every other tensor and file is copied. One chunk of a tensor is in memory.
 * @param chunkBytes the size of a chunk, except that a row is not divided
 * @throws OperatingError (usage) where `out` exists, the adapter does not fit, or a sum overflows the dtype
 */
export function mergeAdapter(
  base: BaseModel,
  adapterDirectory: string,
  out: string,
  chunkBytes = CHUNK_BYTES,
): MergeResult {
  const { description, matrices } = readPeftAdapter(adapterDirectory, base.linearModules);
  const updates = new Map<string, Map<string, LowRank>>();
  for (const weight of base.weights.values()) updates.set(weight.file, new Map());
  let offset = 0;
  for (const module of description.modules) {
    const weight = base.weights.get(`${module.name}.weight`);
    assert(weight !== undefined, `the weight of ${module.name}`);
    updates.get(weight.file)?.set(weight.name, lowRank(module, matrices.subarray(offset), base.fanInFanOut));
    offset += module.rank * (module.fanIn + module.fanOut);
  }
  const leftOut: string[] = [];
  makeDirectory(out, (temporary) => {
    for (const name of readdirSync(base.directory).sort()) {
      const from = join(base.directory, name);
      const file = existsSync(from) ? realpathSync(from) : from;
      const changes = updates.get(file);
      updates.delete(file);
      if (changes !== undefined) mergeFile(from, join(temporary, name), changes, chunkBytes);
      else if (existsSync(from) && statSync(from).isFile() && !OTHER_WEIGHTS.has(extname(name)))
        copyFile(from, join(temporary, name));
      else leftOut.push(name);
    }
    for (const file of updates.keys())
      throw usageError(`${file}: lies outside ${base.directory}, which cannot be merged`);
  });
  return { merged: description.modules.length, leftOut };
}

/** @param matrices begins with the module's A `[rank, fanIn]` and B `[fanOut, rank]` */
function lowRank(module: AdapterModule, matrices: Float32Array, fanInFanOut: boolean): LowRank {
  const { rank, scale, fanIn, fanOut } = module;
  const a = matrices.subarray(0, rank * fanIn);
  const b = matrices.subarray(rank * fanIn, rank * (fanIn + fanOut));
  if (!fanInFanOut) return { rank, scale, left: b, right: a, columns: fanIn };
  return { rank, scale, left: transpose(a, fanIn), right: transpose(b, rank), columns: fanOut };
}

/** The transpose of a row-major matrix of `columns` columns. */
function transpose(matrix: Float32Array, columns: number): Float32Array {
  const rows = matrix.length / columns;
  return Float32Array.from(matrix, (_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)] ?? 0);
}

function copyFile(from: string, to: string): void {
  copyFileSync(from, to, constants.COPYFILE_EXCL);
  syncPath(to);
}

function mergeFile(from: string, to: string, updates: ReadonlyMap<string, LowRank>, chunkBytes: number): void {
  const { tensors, metadata } = openSafetensors(from);
  const inFileOrder = [...tensors].sort(([, a], [, b]) => a.offset - b.offset);
  const written = inFileOrder.map(([name, tensor]): TensorToWrite => {
    const update = updates.get(name);
    const { dtype, shape } = tensor;
    const chunks = () =>
      update === undefined
        ? tensorChunks(from, tensor, chunkBytes)
        : mergedChunks(from, name, tensor, update, chunkBytes);
    return { name, dtype, shape, chunks };
  });
  writeSafetensors(to, written, metadata.size === 0 ? undefined : Object.fromEntries(metadata));
}

function* mergedChunks(
  file: string,
  name: string,
  tensor: StoredTensor,
  update: LowRank,
  chunkBytes: number,
): Generator<Uint8Array> {
  const { dtype } = tensor;
  assert(isFloatDtype(dtype) && tensor.shape[1] === update.columns, `dtype and shape of ${name}`);
  const rowBytes = update.columns * DTYPE_BYTES[dtype];
  const rowsPerChunk = Math.max(1, Math.floor(chunkBytes / rowBytes));
  let row = 0;
  for (const chunk of tensorChunks(file, tensor, rowsPerChunk * rowBytes)) {
    const weights = toFloat32(dtype, chunk);
    addLowRank(weights, row, update);
    const rounded = fromFloat32(dtype, weights);
    if (!allFinite(toFloat32(dtype, rounded)))
      throw usageError(`${file}: tensor ${name} with the adapter folded in has elements that ${dtype} cannot hold`);
    yield rounded;
    row += weights.length / update.columns;
  }
}

function allFinite(values: Float32Array): boolean {
  // A NaN or an infinity times zero is NaN, and stays.
  let zero = 0;
  for (let i = 0; i < values.length; i++) zero += values[i]! * 0;
  return zero === 0;
}

/** weights += scale · left·right, for the rows of it that begin with `firstRow`. */
function addLowRank(weights: Float32Array, firstRow: number, { rank, scale, left, right, columns }: LowRank): void {
  const sum = new Float64Array(columns);
  for (let row = 0; row * columns < weights.length; row++) {
    sum.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = left[(firstRow + row) * rank + r]!;
      const from = r * columns;
      for (let i = 0; i < columns; i++) sum[i] = sum[i]! + factor * right[from + i]!;
    }
    const at = row * columns;
    for (let i = 0; i < columns; i++) weights[at + i] = weights[at + i]! + scale * sum[i]!;
  }
}
