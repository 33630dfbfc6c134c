/** float16 and bfloat16: every pattern, every rounding boundary. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FloatDtype, fromFloat32, toFloat32 } from '../../formats/float-formats.ts';

const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const widen = (dtype: FloatDtype, bits: Uint16Array) => toFloat32(dtype, new Uint8Array(bits.buffer));
const narrow = (dtype: FloatDtype, values: Float32Array) => new Uint16Array(fromFloat32(dtype, values).buffer);
const float32 = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer);

describe('half precision', () => {
  for (const dtype of ['F16', 'BF16'] as const) {
    it(`${dtype}: every pattern comes back from float32, NaN as NaN`, () => {
      const values = widen(dtype, all);
      const back = narrow(dtype, values);
      all.forEach((bits, i) => {
        if (!Number.isNaN(values[i])) assert.equal(back[i], bits);
        else assert(Number.isNaN(widen(dtype, back.slice(i, i + 1))[0]));
      });
    });

    it(`${dtype}: rounds to nearest, ties to even, between all neighbours`, () => {
      const positive = all.subarray(0, dtype === 'F16' ? 0x7c00 : 0x7f7f);
      const values = widen(dtype, positive.slice());
      for (let i = 0; i + 1 < values.length; i++) {
        // Exact in float32: both formats have at least 13 bits to spare. Subnormal bfloat16 is subnormal in float32 too.
        const middle = Math.fround((values[i]! + values[i + 1]!) / 2);
        const bits = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
        const even = i % 2 === 0 ? i : i + 1;
        const got = [bits - 1, bits, bits + 1].map((b) => narrow(dtype, float32(b))[0]);
        assert.deepEqual(got, [i, even, i + 1], `between ${values[i]} and ${values[i + 1]}`);
      }
    });
  }

  it('has the values of IEEE 754 and overflows to infinity', () => {
    assert.deepEqual([...widen('F16', Uint16Array.of(0x3c00, 0xc000, 1, 0x7bff))], [1, -2, 2 ** -24, 65504]);
    assert.deepEqual([...narrow('F16', Float32Array.of(65519, 65520, -1e9, 2 ** -26))], [0x7bff, 0x7c00, 0xfc00, 0]);
    assert.deepEqual([...narrow('BF16', Float32Array.of(3.4e38, -1, 1.00390625))], [0x7f80, 0xbf80, 0x3f80]);
  });
});
