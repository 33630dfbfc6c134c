/** The float formats in which weights are stored, to and from float32. Little-endian machines only, as safetensors is. */
import type { Dtype } from './safetensors.ts';

/** Dtypes that `toFloat32` and `fromFloat32` know. */
export const FLOAT_DTYPES = ['F32', 'BF16', 'F16'] as const;
export type FloatDtype = (typeof FLOAT_DTYPES)[number];

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<FloatDtype, number>> = { F32: 4, BF16: 2, F16: 2 };

export const isFloatDtype = (dtype: Dtype): dtype is FloatDtype => (FLOAT_DTYPES as readonly string[]).includes(dtype);

/** The stored elements `bytes`, which begin at a multiple of their size in their buffer, as float32: exact. The result may share `bytes`. */
export function toFloat32(dtype: FloatDtype, bytes: Uint8Array): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  // Loops: the `from` of typed arrays takes 50 times as long, and these run over whole models.
  const stored = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const values = new Float32Array(stored.length);
  if (dtype === 'BF16') {
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < stored.length; i++) bits[i] = stored[i]! << 16;
  } else for (let i = 0; i < stored.length; i++) values[i] = float16ToNumber(stored[i]!);
  return values;
}

/** `values` in `dtype`, each rounded to nearest, ties to even. The result may share `values`. */
export function fromFloat32(dtype: FloatDtype, values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const rounded = new Uint16Array(bits.length);
  if (dtype === 'BF16') for (let i = 0; i < bits.length; i++) rounded[i] = float32BitsToBfloat16(bits[i]!);
  else for (let i = 0; i < bits.length; i++) rounded[i] = float32BitsToFloat16(bits[i]!);
  return new Uint8Array(rounded.buffer);
}

function float16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function float32BitsToBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function float32BitsToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00;
  // 65520 and above round to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  // Subnormal in float16: a multiple of 2^-24, which 24 bits of significand shifted right give, ties to even.
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const below = significand & (2 ** shift - 1);
  const half = 2 ** (shift - 1);
  const whole = significand >>> shift;
  return sign | (whole + (below > half || (below === half && whole & 1) ? 1 : 0));
}
