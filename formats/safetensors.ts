/**
 * The header of a safetensors file, parsed at the edge: every rule of the format is checked before a tensor is named, and
 * no size in the file is believed before it is compared with the file's own. Reads no tensor data.
 * Format: https://github.com/huggingface/safetensors#format
 *
 * The room formats/ reads and writes the files of other programs as they do. It knows no run; which file is whose is said by its callers.
 */
import { closeSync, fstatSync } from 'node:fs';
import { openRegular, readAt } from '../platform/regular-file.ts';
import { usageError } from '../proto/operating-error.ts';
import { parseStrictJson } from './strict-json.ts';

/** Bits per element. */
const DTYPE_BITS = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  C64: 64,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
} as const;
export type Dtype = keyof typeof DTYPE_BITS;

/** One tensor of a file. `offset + bytes` lies within the file. */
export interface StoredTensor {
  readonly dtype: Dtype;
  /** Row-major; empty for a scalar. The product is an exact integer. */
  readonly shape: readonly number[];
  /** First byte, counted from the beginning of the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** A file whose header was read. The tensors tile the data of the file: no holes, no overlaps, nothing after them. */
export interface Safetensors {
  readonly file: string;
  /** By name, in the header's order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Bytes; the limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_DIMENSIONS = 32;
/** The header, a tensor's entry, its shape. */
const MAX_DEPTH = 3;

/**
 * Reads the header of `file`. Holds no descriptor afterwards.
 * @throws OperatingError (usage) that names the file, the tensor, what was got and what is allowed
 */
export function openSafetensors(file: string): Safetensors {
  const fd = openRegular(file);
  try {
    const fileBytes = fstatSync(fd).size;
    if (fileBytes < 8) throw refusal(file, `${fileBytes} bytes, at least 8 are needed`);
    const length = readExactly(file, fd, 0, 8).readBigUInt64LE();
    const allowed = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
    if (length > BigInt(allowed))
      throw refusal(
        file,
        `a header of ${length} bytes, at most ${allowed} are allowed in a file of ${fileBytes} bytes`,
      );
    const headerBytes = Number(length);
    const header = parseHeader(file, readExactly(file, fd, 8, headerBytes));
    return checkHeader(file, header, 8 + headerBytes, fileBytes);
  } finally {
    closeSync(fd);
  }
}

function readExactly(file: string, fd: number, position: number, bytes: number): Buffer {
  const into = Buffer.alloc(bytes);
  const end = position + readAt(fd, into, position);
  if (end < position + bytes)
    throw refusal(file, `ends at byte ${end} while it is read, ${position + bytes} were there`);
  return into;
}

function parseHeader(file: string, bytes: Uint8Array): Record<string, unknown> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (text[0] !== '{') throw new SyntaxError(`begins with ${JSON.stringify(text.slice(0, 1))}, expected "{"`);
    return parseStrictJson(text, MAX_DEPTH) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message.slice(0, 500) : 'not valid UTF-8';
    throw refusal(file, `its header is not usable: ${reason}`, { cause: error });
  }
}

function checkHeader(file: string, header: Record<string, unknown>, dataStart: number, fileBytes: number): Safetensors {
  const tensors = new Map<string, StoredTensor>();
  let metadata = new Map<string, string>();
  for (const [name, entry] of Object.entries(header)) {
    if (/\p{Surrogate}/u.test(name)) throw refusal(file, `tensor ${quote(name)}: the name is not valid Unicode`);
    if (name === '__metadata__') metadata = checkMetadata(file, entry);
    else tensors.set(name, checkEntry(file, name, entry, dataStart, fileBytes));
  }
  checkTiling(file, tensors, dataStart, fileBytes);
  return { file, tensors, metadata };
}

function checkMetadata(file: string, entry: unknown): Map<string, string> {
  // Null stands for none, as in the reference implementation.
  if (entry === null) return new Map();
  if (!isObject(entry)) throw refusal(file, `__metadata__ is ${quote(entry)}, expected an object of strings`);
  const metadata = new Map<string, string>();
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== 'string')
      throw refusal(file, `__metadata__ ${quote(key)} is ${quote(value)}, expected a string`);
    metadata.set(key, value);
  }
  return metadata;
}

function checkEntry(file: string, name: string, entry: unknown, dataStart: number, fileBytes: number): StoredTensor {
  const fail = (reason: string): Error => refusal(file, `tensor ${quote(name)}: ${reason}`);
  if (!isObject(entry)) throw fail(`its entry is ${quote(entry)}, expected an object`);
  for (const key of Object.keys(entry))
    if (!['dtype', 'shape', 'data_offsets'].includes(key))
      throw fail(`unknown field ${quote(key)}, expected dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) throw fail(`dtype is ${quote(dtype)}, expected one of ${Object.keys(DTYPE_BITS).join(', ')}`);
  if (!isSizes(shape) || shape.length > MAX_DIMENSIONS)
    throw fail(`shape is ${quote(shape)}, expected a list of at most ${MAX_DIMENSIONS} integers from 0 to 2^53 - 1`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw fail(`data_offsets is ${quote(offsets)}, expected two integers from 0 to 2^53 - 1`);
  const bytes = shapeBytes(dtype, shape);
  if (bytes === undefined) throw fail(`shape ${quote(shape)} of ${dtype} is not a whole number of bytes below 2^53`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw fail(`data_offsets ${quote(offsets)} end before they begin`);
  if (end - begin !== bytes)
    throw fail(`data_offsets ${quote(offsets)} hold ${end - begin} bytes, ${dtype} ${quote(shape)} needs ${bytes}`);
  if (end > fileBytes - dataStart)
    throw fail(`data_offsets ${quote(offsets)} leave the file, which holds ${fileBytes - dataStart} bytes of data`);
  return { dtype, shape, offset: dataStart + begin, bytes };
}

/** Refuses holes between tensors, overlaps, and bytes that belong to none. */
function checkTiling(file: string, tensors: Map<string, StoredTensor>, dataStart: number, fileBytes: number): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const [name, { offset, bytes }] of inOrder) {
    if (offset !== end)
      throw refusal(
        file,
        `tensor ${quote(name)} begins at byte ${offset}, expected ${end}: ${offset < end ? 'it overlaps the tensor before it' : 'a hole'}`,
      );
    end = offset + bytes;
  }
  if (end !== fileBytes) throw refusal(file, `${fileBytes - end} bytes after the last tensor, expected none`);
}

/** The bytes that `shape` takes; undefined where that is no exact integer. Checked factor by factor, as the reference does. */
export function shapeBytes(dtype: Dtype, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (elements > Number.MAX_SAFE_INTEGER) return undefined;
  }
  const bits = elements * DTYPE_BITS[dtype];
  return bits <= Number.MAX_SAFE_INTEGER && bits % 8 === 0 ? bits / 8 : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isDtype = (value: unknown): value is Dtype => typeof value === 'string' && Object.hasOwn(DTYPE_BITS, value);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));

const quote = (value: unknown): string => (JSON.stringify(value) ?? 'missing').slice(0, 200);

const refusal = (file: string, reason: string, options?: ErrorOptions): Error =>
  usageError(`${file}: not a safetensors file that can be used: ${reason}`, options);
