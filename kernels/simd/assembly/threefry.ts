/**
 * Threefry-2x32, 20 rounds, for up to four lines of four blocks at a time. Gives what ../../threefry.ts gives.
 * A line is one vector: a term on four blocks. The lines go through each four rounds in turn, so that the processor always
 * has independent instructions at hand: one line alone is a single chain of dependent ones.
 */

/** Bytes of a prepared term (../plan.ts): the words of its key schedule that do not depend on the block. */
export const TERM_BYTES: usize = 48;

/** Distance from the word 0 of a line to its word 1, bytes; from one line to the next it is 16. */
export const WORD_BYTES: usize = 64;

/**
 * Stores word 0 of line t at words + 16·t and word 1 at words + WORD_BYTES + 16·t, for `lines` lines (1…4).
 * Line t has the term at term + t·termStep and the four blocks first + t·blockStep, … `stride` apart.
 */
export function threefry(
  term: usize,
  termStep: usize,
  first: i32,
  blockStep: i32,
  stride: i32,
  lines: usize,
  words: usize,
): void {
  const end = words + lines * 16;
  rounds1to4(term, termStep, first, blockStep, stride, words, end);
  oddRounds(term + 16, term + 20, termStep, words, end);
  evenRounds(term + 24, term + 28, termStep, words, end);
  oddRounds(term + 8, term + 32, termStep, words, end);
  evenRounds(term + 16, term + 36, termStep, words, end);
}

function rotate(x: v128, distance: i32): v128 {
  return v128.or(i32x4.shl(x, distance), i32x4.shr_u(x, 32 - distance));
}

/** The first round is folded into the term: x0 = block + constant, x1 = constant. */
function rounds1to4(
  term: usize,
  termStep: usize,
  first: i32,
  blockStep: i32,
  stride: i32,
  words: usize,
  end: usize,
): void {
  let blocks = i32x4.add(i32x4.splat(first), i32x4.mul(i32x4.splat(stride), i32x4(0, 1, 2, 3)));
  for (let line = words; line < end; line += 16) {
    let x0 = i32x4.add(blocks, v128.load32_splat(term));
    let x1 = v128.xor(x0, v128.load32_splat(term, 4));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 15));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 26));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 6));
    v128.store(line, i32x4.add(x0, v128.load32_splat(term, 8)));
    v128.store(line, i32x4.add(x1, v128.load32_splat(term, 12)), WORD_BYTES);
    term += termStep;
    blocks = i32x4.add(blocks, i32x4.splat(blockStep));
  }
}

/** Rounds 5 to 8 and 13 to 16, then the key words at key0 and key1 of each term. */
function oddRounds(key0: usize, key1: usize, termStep: usize, words: usize, end: usize): void {
  for (let line = words; line < end; line += 16) {
    let x0 = v128.load(line);
    let x1 = v128.load(line, WORD_BYTES);
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 17));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 29));
    x0 = i32x4.add(x0, x1);
    // Rotations by whole bytes are one instruction: 16 bits, then 24.
    x1 = v128.xor(x0, i8x16.shuffle(x1, x1, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, i8x16.shuffle(x1, x1, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12));
    v128.store(line, i32x4.add(x0, v128.load32_splat(key0)));
    v128.store(line, i32x4.add(x1, v128.load32_splat(key1)), WORD_BYTES);
    key0 += termStep;
    key1 += termStep;
  }
}

/** Rounds 9 to 12 and 17 to 20, then the key words at key0 and key1 of each term. */
function evenRounds(key0: usize, key1: usize, termStep: usize, words: usize, end: usize): void {
  for (let line = words; line < end; line += 16) {
    let x0 = v128.load(line);
    let x1 = v128.load(line, WORD_BYTES);
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 13));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 15));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 26));
    x0 = i32x4.add(x0, x1);
    x1 = v128.xor(x0, rotate(x1, 6));
    v128.store(line, i32x4.add(x0, v128.load32_splat(key0)));
    v128.store(line, i32x4.add(x1, v128.load32_splat(key1)), WORD_BYTES);
    key0 += termStep;
    key1 += termStep;
  }
}
