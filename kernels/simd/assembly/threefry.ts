/** Threefry-2x32, 20 rounds, for one term on four blocks at a time. Gives what ../../threefry.ts gives. */

/**
 * Bytes of a prepared term (see ../plan.ts): the words of its key schedule that do not depend on the block, so that
 * round 1 costs two instructions.
 */
export const TERM_BYTES: usize = 48;

/** Distance from the first output vector of a term to the second, bytes. */
export const WORD_BYTES: usize = 64;

function rotate(x: v128, distance: i32): v128 {
  return v128.or(i32x4.shl(x, distance), i32x4.shr_u(x, 32 - distance));
}

function rotate16(x: v128): v128 {
  return i8x16.shuffle(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}

function rotate24(x: v128): v128 {
  return i8x16.shuffle(x, x, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
}

/** Stores word 0 of the four `blocks` at `words`, and word 1 at `words + WORD_BYTES`. */
export function threefry(term: usize, blocks: v128, words: usize): void {
  let x0 = i32x4.add(blocks, v128.load32_splat(term));
  let x1 = v128.xor(x0, v128.load32_splat(term, 4));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 15));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 26));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 6));
  x0 = i32x4.add(x0, v128.load32_splat(term, 8));
  x1 = i32x4.add(x1, v128.load32_splat(term, 12));

  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 17));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 29));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate16(x1));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate24(x1));
  x0 = i32x4.add(x0, v128.load32_splat(term, 16));
  x1 = i32x4.add(x1, v128.load32_splat(term, 20));

  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 13));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 15));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 26));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 6));
  x0 = i32x4.add(x0, v128.load32_splat(term, 24));
  x1 = i32x4.add(x1, v128.load32_splat(term, 28));

  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 17));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 29));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate16(x1));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate24(x1));
  x0 = i32x4.add(x0, v128.load32_splat(term, 8));
  x1 = i32x4.add(x1, v128.load32_splat(term, 32));

  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 13));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 15));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 26));
  x0 = i32x4.add(x0, x1);
  x1 = v128.xor(x0, rotate(x1, 6));
  v128.store(words, i32x4.add(x0, v128.load32_splat(term, 16)));
  v128.store(words, i32x4.add(x1, v128.load32_splat(term, 36)), WORD_BYTES);
}

/** Four block numbers, `stride` apart. */
export function fourBlocks(first: i32, stride: i32): v128 {
  return i32x4.add(i32x4.splat(first), i32x4.mul(i32x4.splat(stride), i32x4(0, 1, 2, 3)));
}
