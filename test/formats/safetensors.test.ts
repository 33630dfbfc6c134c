/** The safetensors reader and writer: round trips, every class of malformed file by name, and a fuzzer. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { openSafetensors } from '../../formats/safetensors.ts';
import { float32Tensor, writeSafetensors } from '../../formats/safetensors-writer.ts';
import { OperatingError } from '../../proto/operating-error.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MODELS = join(goldenFiles, 'models/');

interface Parts {
  header?: string | Uint8Array;
  /** Of the length field, where it is not the header's own. */
  length?: bigint;
  dataBytes?: number;
}

/** A file of one F32 tensor `w` `[2, 3]`, with what `parts` says instead. */
function fileOf({ header = entry({}), length, dataBytes = 24 }: Parts): Buffer {
  const text = Buffer.from(header as string);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(dataBytes, 7)]);
}

const entry = (change: Record<string, unknown>, name = 'w'): string =>
  JSON.stringify({ [name]: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24], ...change } });
const tensors = (...list: [name: string, shape: number[], begin: number, end: number][]): string =>
  `{${list.map(([name, shape, begin, end]) => `"${name}":${JSON.stringify({ dtype: 'F32', shape, data_offsets: [begin, end] })}`).join(',')}}`;
const raw = (fields: string): string => `{"w":{${fields}}}`;

const MALFORMED: [name: string, file: Buffer, message: RegExp][] = [
  ['an empty file', Buffer.alloc(0), /0 bytes, at least 8/],
  ['a file shorter than the length field', Buffer.alloc(7), /7 bytes, at least 8/],
  ['a length field and nothing else', fileOf({ header: '', dataBytes: 0 }), /begins with ""/],
  ['a header longer than the file', fileOf({ length: 1000n }), /header of 1000 bytes, at most/],
  ['a header one byte longer than the file', fileOf({ length: BigInt(fileOf({}).length - 7) }), /at most/],
  ['a header length of 2^63', fileOf({ length: 2n ** 63n }), /header of 9223372036854775808 bytes/],
  ['a header length of 2^64 - 1', fileOf({ length: 2n ** 64n - 1n }), /header of 18446744073709551615 bytes/],
  ['a header length of 2^32 + the true one', fileOf({ length: 2n ** 32n + 59n }), /header of 4294967355 bytes/],
  ['a header cut short by its length', fileOf({ length: 20n }), /header is not usable/],
  ['a header length of 0', fileOf({ length: 0n }), /begins with ""/],
  ['a header that is not UTF-8', fileOf({ header: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }), /UTF-8/],
  ['an overlong UTF-8 sequence', fileOf({ header: Buffer.from([0x7b, 0x22, 0xc0, 0x80, 0x22, 0x7d]) }), /UTF-8/],
  ['a UTF-8 encoded surrogate', fileOf({ header: Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d]) }), /UTF-8/],
  ['a byte order mark', fileOf({ header: `\ufeff${entry({})}` }), /begins with/],
  ['a header that begins with a space', fileOf({ header: ` ${entry({})}` }), /begins with " "/],
  ['a header that is a list', fileOf({ header: '[1]' }), /begins with "\["/],
  ['a header that is not JSON', fileOf({ header: '{w: 1}' }), /header is not usable/],
  ['a header with a comment', fileOf({ header: `{/**/${entry({}).slice(1)}` }), /header is not usable/],
  ['a trailing comma', fileOf({ header: `${entry({}).slice(0, -1)},}` }), /header is not usable/],
  ['text after the header', fileOf({ header: `${entry({})}x` }), /header is not usable/],
  ['padding with zero bytes', fileOf({ header: `${entry({})}\0\0` }), /header is not usable/],
  ['a string without an end', fileOf({ header: '{"w' }), /does not end/],
  ['NaN', fileOf({ header: raw('"dtype":"F32","shape":[NaN],"data_offsets":[0,24]') }), /header is not usable/],
  ['the same tensor twice', fileOf({ header: tensors(['w', [6], 0, 24], ['w', [6], 0, 24]) }), /"w" occurs twice/],
  ['the same tensor twice, once escaped', fileOf({ header: '{"w":1,"\\u0077":2}' }), /"w" occurs twice/],
  ['the same field twice', fileOf({ header: raw('"dtype":"F32","dtype":"F16"') }), /"dtype" occurs twice/],
  ['two __metadata__', fileOf({ header: '{"__metadata__":{},"__metadata__":{}}' }), /"__metadata__" occurs twice/],
  ['a tensor named __proto__', fileOf({ header: tensors(['__proto__', [6], 0, 24]) }), /"__proto__" is not allowed/],
  ['__proto__ within an entry', fileOf({ header: raw('"__proto__":{"dtype":"F32"}') }), /"__proto__" is not allowed/],
  ['__proto__ in escapes', fileOf({ header: '{"\\u005f_proto__":{}}' }), /"__proto__" is not allowed/],
  ['a name with a lone surrogate', fileOf({ header: '{"\\ud800":{}}' }), /not valid Unicode/],
  ['nesting deeper than a shape', fileOf({ header: entry({ shape: [[2], 3] }) }), /nesting deeper than 3/],
  ['a hundred thousand brackets', fileOf({ header: `{"w":${'['.repeat(1e5)}` }), /nesting deeper than 3/],
  ['__metadata__ that is no object', fileOf({ header: '{"__metadata__":"pt"}' }), /__metadata__ is "pt"/],
  ['__metadata__ with a number', fileOf({ header: '{"__metadata__":{"a":1}}' }), /__metadata__ "a" is 1/],
  ['an entry that is null', fileOf({ header: '{"w":null}' }), /tensor "w": its entry is null/],
  ['an entry that is a list', fileOf({ header: '{"w":[]}' }), /tensor "w": its entry is \[\]/],
  ['an entry without a dtype', fileOf({ header: entry({ dtype: undefined }) }), /dtype is missing/],
  ['an unknown dtype', fileOf({ header: entry({ dtype: 'F31' }) }), /dtype is "F31", expected one of F64/],
  ['a dtype that every object has', fileOf({ header: entry({ dtype: 'constructor' }) }), /dtype is "constructor"/],
  ['a dtype in lower case', fileOf({ header: entry({ dtype: 'f32' }) }), /dtype is "f32"/],
  ['an unknown field', fileOf({ header: entry({ strides: [1] }) }), /unknown field "strides"/],
  ['an entry without a shape', fileOf({ header: entry({ shape: undefined }) }), /shape is missing/],
  ['a shape that is a number', fileOf({ header: entry({ shape: 6 }) }), /shape is 6/],
  ['a negative size', fileOf({ header: entry({ shape: [-2, -3] }) }), /shape is \[-2,-3\]/],
  ['a size that is minus zero', fileOf({ header: raw('"dtype":"F32","shape":[-0],"data_offsets":[0,0]') }), /shape is/],
  ['a size with a fraction', fileOf({ header: entry({ shape: [1.5, 4] }) }), /shape is \[1.5,4\]/],
  ['a size in a string', fileOf({ header: entry({ shape: ['2', 3] }) }), /shape is \["2",3\]/],
  ['a size above 2^53', fileOf({ header: entry({ shape: [2 ** 53, 0] }) }), /shape is/],
  ['a size of 1e999', fileOf({ header: raw('"dtype":"F32","shape":[1e999],"data_offsets":[0,24]') }), /shape is/],
  ['a product above 2^53', fileOf({ header: entry({ shape: [2 ** 27, 2 ** 27] }) }), /not a whole number of bytes/],
  [
    'a product that overflows 64 bits to 24',
    fileOf({ header: entry({ shape: [2 ** 32, 2 ** 32, 6] }) }),
    /whole number/,
  ],
  ['an overflow hidden by a zero', fileOf({ header: entry({ shape: [2 ** 40, 2 ** 40, 0] }) }), /whole number/],
  ['half a byte', fileOf({ header: entry({ dtype: 'F4', shape: [3] }) }), /not a whole number of bytes/],
  ['33 dimensions', fileOf({ header: entry({ shape: Array(33).fill(1) }) }), /at most 32 integers/],
  ['an entry without offsets', fileOf({ header: entry({ data_offsets: undefined }) }), /data_offsets is missing/],
  ['three offsets', fileOf({ header: entry({ data_offsets: [0, 12, 24] }) }), /data_offsets is \[0,12,24\]/],
  ['one offset', fileOf({ header: entry({ data_offsets: [24] }) }), /data_offsets is \[24\]/],
  ['a negative offset', fileOf({ header: entry({ data_offsets: [-24, 0] }) }), /data_offsets is \[-24,0\]/],
  ['an offset with a fraction', fileOf({ header: entry({ data_offsets: [0.5, 24.5] }) }), /data_offsets is/],
  ['offsets that end before they begin', fileOf({ header: entry({ data_offsets: [24, 0] }) }), /end before they begin/],
  [
    'offsets of another length than the shape',
    fileOf({ header: entry({ shape: [2, 2] }) }),
    /24 bytes, F32 \[2,2\] needs 16/,
  ],
  ['offsets of another length than the dtype', fileOf({ header: entry({ dtype: 'F16' }) }), /24 bytes, F16/],
  [
    'offsets beyond the file',
    fileOf({ header: entry({ shape: [12], data_offsets: [0, 48] }) }),
    /holds 24 bytes of data/,
  ],
  ['a file cut short', fileOf({ dataBytes: 23 }), /holds 23 bytes of data/],
  ['one trailing byte', fileOf({ dataBytes: 25 }), /1 bytes after the last tensor/],
  ['data without a tensor', fileOf({ header: '{}' }), /24 bytes after the last tensor/],
  ['a hole at the front', fileOf({ header: entry({ shape: [5], data_offsets: [4, 24] }) }), /a hole/],
  ['a hole in the middle', fileOf({ header: tensors(['a', [2], 0, 8], ['b', [3], 12, 24]) }), /"b" begins.*a hole/],
  ['overlapping tensors', fileOf({ header: tensors(['a', [4], 0, 16], ['b', [4], 8, 24]) }), /"b" begins.*overlaps/],
  ['two tensors at one place', fileOf({ header: tensors(['a', [6], 0, 24], ['b', [6], 0, 24]) }), /overlaps/],
  ['an empty tensor within another', fileOf({ header: tensors(['a', [6], 0, 24], ['b', [0], 8, 8]) }), /overlaps/],
  [
    'an empty tensor beyond the data',
    fileOf({ header: tensors(['a', [6], 0, 24], ['b', [0], 99, 99]) }),
    /leave the file/,
  ],
];

describe('a safetensors file', () => {
  it('is read as the reference implementation wrote it', () => {
    for (const model of goldenModels()) {
      const file = join(MODELS, model, 'model.safetensors');
      const { tensors: read, metadata } = openSafetensors(file);
      assert(read.size > 10, model);
      assert.equal(metadata.get('format'), 'pt');
      assert.equal(Math.max(...Array.from(read.values(), (t) => t.offset + t.bytes)), readFileSync(file).length);
    }
  });

  it('comes back from the writer with every name, shape and byte', () => {
    const file = join(temporaryDirectory(), 'x.safetensors');
    const data = Float32Array.of(1, -0, Number.NaN, 3e38, 1e-45, 5);
    const half = {
      name: 'né',
      dtype: 'BF16' as const,
      shape: [3],
      chunks: () => [Buffer.of(1, 2), Buffer.of(3, 4, 5, 6)],
    };
    writeSafetensors(file, [float32Tensor('w', [2, 3], data), half, float32Tensor('e', [0], data.subarray(0, 0))], {
      a: 'b',
    });
    const { tensors: read, metadata } = openSafetensors(file);
    const bytes = readFileSync(file);
    const part = (name: string): Buffer => bytes.subarray(read.get(name)!.offset).subarray(0, read.get(name)!.bytes);
    assert.deepEqual([...read.keys()], ['w', 'né', 'e']);
    assert.deepEqual([...metadata], [['a', 'b']]);
    assert.equal(read.get('w')!.offset % 8, 0);
    assert.deepEqual(part('w'), Buffer.from(data.buffer));
    assert.deepEqual(part('né'), Buffer.of(1, 2, 3, 4, 5, 6));
    assert.deepEqual(read.get('e')!.shape, [0]);
    assert.throws(() => writeSafetensors(file, []), /EEXIST/);
  });

  it('may have no tensors, scalars, empty tensors, quotes in names, and padding after its header', () => {
    const file = join(temporaryDirectory(), 'x');
    writeFileSync(file, fileOf({ header: '{}   ', dataBytes: 0 }));
    assert.equal(openSafetensors(file).tensors.size, 0);
    writeFileSync(file, fileOf({ header: tensors(['s', [], 0, 4], ['w', [5], 4, 24]) }));
    assert.deepEqual(openSafetensors(file).tensors.get('s')?.shape, []);
    writeFileSync(file, fileOf({ header: tensors(['w', [6], 0, 24], ['e', [0], 0, 0], ['f', [0], 24, 24]) }));
    assert.equal(openSafetensors(file).tensors.size, 3);
    writeFileSync(file, fileOf({ header: tensors(['\\"{\\\\', [5], 0, 20], ['x\\",', [1], 20, 24]) }));
    assert.deepEqual([...openSafetensors(file).tensors.keys()], ['"{\\', 'x",']);
  });

  it('is refused by name when it is a directory or is not there', () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'd'));
    assert.throws(() => openSafetensors(join(directory, 'd')), /d: .*expected a regular file/);
    assert.throws(() => openSafetensors(join(directory, 'none')), /none: cannot be read/);
  });

  for (const [name, bytes, message] of MALFORMED)
    it(`is refused when it has ${name}`, () => {
      const file = join(temporaryDirectory(), 'bad.safetensors');
      writeFileSync(file, bytes);
      assert.throws(() => openSafetensors(file), {
        name: 'OperatingError',
        message: new RegExp(`bad\\.safetensors: .*${message.source}`, 's'),
      });
    });

  it('may have metadata that are null, which are none', () => {
    const file = join(temporaryDirectory(), 'null');
    writeFileSync(file, fileOf({ header: '{"__metadata__":null}', dataBytes: 0 }));
    assert.equal(openSafetensors(file).metadata.size, 0);
  });

  it('gives tensors that lie in the file or an operating error, whatever its bytes (4,000 mutations)', () => {
    const file = join(temporaryDirectory(), 'fuzz');
    const random = seedrandom('safetensors');
    const below = (n: number): number => Math.floor(random() * n);
    const seeds = [
      fileOf({}),
      fileOf({ header: tensors(['a', [4], 0, 16], ['b', [2, 1], 16, 24]) }),
      fileOf({ header: '{"__metadata__":{"a":"b"}}', dataBytes: 0 }),
      fileOf({ header: '{"__metadata__":null}', dataBytes: 0 }),
    ];
    const alphabet = Buffer.from('{}[]",:\\u09-.eE \0\xff', 'latin1');
    let accepted = 0;
    for (let n = 0; n < 4000; n++) {
      let bytes = Buffer.from(seeds[below(seeds.length)]!);
      for (let changes = 1 + below(3); changes > 0 && bytes.length > 0; changes--) {
        const at = below(bytes.length);
        if (random() < 0.2) bytes = bytes.subarray(0, at);
        else if (random() < 0.3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
        else bytes[at] = random() < 0.5 ? alphabet[below(alphabet.length)]! : below(256);
      }
      writeFileSync(file, bytes);
      try {
        for (const { offset, bytes: size } of openSafetensors(file).tensors.values())
          assert(offset >= 8 && size >= 0 && offset + size <= bytes.length);
        accepted++;
      } catch (error) {
        assert(error instanceof OperatingError, `mutation ${n}: ${error instanceof Error ? error.stack : error}`);
      }
    }
    assert(accepted > 100 && accepted < 3000, `${accepted} accepted: the fuzzer reaches both sides`);
  });
});
