/** The gradient byte: OCP 8-bit floating point E4M3 (OFP8 1.0: no infinities, largest 448, subnormals in steps of 2⁻⁹). */
import assert from 'node:assert/strict';

/** The byte a worker sends for a direction it could not measure. */
export const ABSTAIN = 0x7f;
/** Every value is a whole number of steps of 2⁻⁹; sums count in them. */
export const STEPS_PER_UNIT = 512;
/** Largest magnitude, in steps. */
export const LARGEST_512 = 448 * STEPS_PER_UNIT;
/** A byte stands for its value · 2^exponent, and exponents lie within −60…60. */
export const MAX_EXPONENT = 60;
const LARGEST_BYTE = 0x7e;

/** True for the two NaN patterns, 0x7F (abstain) and 0xFF (refused at the edge), neither of which has a value. */
export const isAbstention = (byte: number): boolean => (byte & 0x7f) === ABSTAIN;

/** 512 × the value of each byte, an exact integer; 0 for the two patterns without a value. `[256]` */
export const DECODED_512: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  if (isAbstention(byte)) return 0;
  const exponent = (byte >> 3) & 15;
  const mantissa = byte & 7;
  const magnitude = exponent === 0 ? mantissa : (8 + mantissa) << (exponent - 1);
  return byte & 128 ? -magnitude : magnitude;
});

const magnitude = (byte: number): number => DECODED_512[byte]! / STEPS_PER_UNIT;

/**
 * The byte nearest to `x` from below or above: up iff `word` < fraction of the gap × 2³². Saturates at ±448.
 * @param x finite float64
 * @param word uniform integer 0…2³²−1
 */
export function encodeE4m3(x: number, word: number): number {
  assert(Number.isFinite(x), `E4M3 encodes finite numbers, got ${x}`);
  const sign = x < 0 || Object.is(x, -0) ? 128 : 0;
  const size = Math.abs(x);
  if (size >= magnitude(LARGEST_BYTE)) return sign | LARGEST_BYTE;
  let low = 0;
  let high = LARGEST_BYTE;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (magnitude(middle) <= size) low = middle;
    else high = middle;
  }
  const fraction = (size - magnitude(low)) / (magnitude(high) - magnitude(low));
  return sign | (word < fraction * 2 ** 32 ? high : low);
}
