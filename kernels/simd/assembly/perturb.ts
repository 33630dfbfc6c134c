/** θ ± step·z, written where the forward pass reads it. */
import { threefry, WORD_BYTES } from './threefry';

/**
 * plus ← θ + step·z and, unless minus is 0, minus ← θ − step·z, for elements from…to of blocks first, first + stride, ….
 * theta, plus and minus point at element `from`.
 * term: a prepared term. work: 128 bytes.
 */
export function perturbBlocks(
  theta: usize,
  plus: usize,
  minus: usize,
  term: usize,
  step: f32,
  first: i32,
  stride: i32,
  from: i32,
  to: i32,
  work: usize,
): void {
  for (let block = first; block * 64 < to; block += 16 * stride) {
    threefry(term, 0, block, 4 * stride, stride, 4, work);
    for (let i = 0; i < 16; i++) {
      const start = (block + i * stride) * 64;
      if (start >= to) return;
      for (let word = 0; word < 2; word++) {
        const bits = load<i32>(work + word * <i32>WORD_BYTES + i * 4);
        const element = start + word * 32;
        if (element >= from && element + 32 <= to) {
          const offset = (<usize>(element - from)) << 2;
          perturbWord(theta + offset, plus + offset, minus ? minus + offset : 0, bits, step);
        } else {
          for (let i = max(from, element); i < min(to, element + 32); i++) {
            const offset = (<usize>(i - from)) << 2;
            const signed = (bits >>> (i - element)) & 1 ? -step : step;
            const value = load<f32>(theta + offset);
            store<f32>(plus + offset, value + signed);
            if (minus) store<f32>(minus + offset, value - signed);
          }
        }
      }
    }
  }
}

/** 32 elements. The sign bit of lane l of `signs` is bit 4·i + l of the word. */
function perturbWord(theta: usize, plus: usize, minus: usize, bits: i32, step: f32): void {
  const steps = f32x4.splat(step);
  const signBit = i32x4.splat(1 << 31);
  let signs = i32x4.mul(i32x4.splat(bits), i32x4(8, 4, 2, 1));
  for (let at: usize = 128; at > 0; ) {
    at -= 16;
    const value = v128.load(theta + at);
    const signed = v128.xor(steps, v128.and(signs, signBit));
    v128.store(plus + at, f32x4.add(value, signed));
    if (minus) v128.store(minus + at, f32x4.sub(value, signed));
    signs = i32x4.shl(signs, 4);
  }
}
