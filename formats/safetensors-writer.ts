/** Writes safetensors files, tensor by tensor, so that no more than one chunk is in memory. Durable when it returns. */
import { strict as assert } from 'node:assert';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { endianness } from 'node:os';
import { type Dtype, MAX_HEADER_BYTES, shapeBytes } from './safetensors.ts';

/** One tensor to write. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Its data, little endian, in as many pieces as it likes; called once. Together they are exactly as long as the shape says. */
  readonly chunks: () => Iterable<Uint8Array>;
}

/** A float32 tensor of `data` `shape`; `data` is only read. */
export function float32Tensor(name: string, shape: readonly number[], data: Float32Array): TensorToWrite {
  assert(endianness() === 'LE', 'safetensors data is little endian, and so must this machine be');
  return {
    name,
    dtype: 'F32',
    shape,
    chunks: () => [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
  };
}

/**
 * Writes `file` with `tensors` in their order, and syncs it. The caller syncs the directory.
 * @throws the file system's error, EEXIST where `file` exists; AssertionError where a tensor's chunks do not have its size
 */
export function writeSafetensors(
  file: string,
  tensors: readonly TensorToWrite[],
  metadata?: Readonly<Record<string, string>>,
): void {
  const header = headerOf(tensors, metadata);
  const fd = openSync(file, 'wx');
  try {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeAll(fd, length);
    writeAll(fd, header);
    for (const { name, dtype, shape, chunks } of tensors) {
      let written = 0;
      for (const chunk of chunks()) {
        writeAll(fd, chunk);
        written += chunk.length;
      }
      assert.equal(written, shapeBytes(dtype, shape), `bytes of tensor ${name}`);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** JSON, padded with spaces so that the data begins at a multiple of 8 bytes. */
function headerOf(tensors: readonly TensorToWrite[], metadata?: Readonly<Record<string, string>>): Buffer {
  const entries: [string, unknown][] = metadata === undefined ? [] : [['__metadata__', metadata]];
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    const bytes = shapeBytes(dtype, shape);
    assert(bytes !== undefined, `shape of tensor ${name}`);
    entries.push([name, { dtype, shape, data_offsets: [end, end + bytes] }]);
    end += bytes;
  }
  assert.equal(new Set(entries.map(([name]) => name)).size, entries.length, 'tensor names are unique');
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`;
  const bytes = Buffer.from(json);
  const padded = Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8, ' ')]);
  assert(padded.length <= MAX_HEADER_BYTES, 'the header is within the format');
  return padded;
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}
