/**
 * Dot products of a float vector with directions. Eight elements have 256 sums with any signs: they are made once, and each
 * direction then looks up one for each byte of its sign bits.
 */
import { TERM_BYTES, threefry, WORD_BYTES } from './threefry';

/** 256 float32: the sums of eight elements, by their sign bits. */
const TABLE_BYTES: usize = 1024;
/** The tables of a block. */
const BLOCK_TABLES: usize = 8 * TABLE_BYTES;

/**
 * sums `[count of terms]` float64 += Σ gᵢ·zᵢ over the blocks first, first + stride, …, `blocks` of them.
 * gradient: float32, those blocks one behind another, and zeros up to a multiple of 4 blocks. terms: prepared.
 * tables: space for 32 KiB. work: 128 bytes.
 */
export function projectBlocks(
  sums: usize,
  gradient: usize,
  first: i32,
  stride: i32,
  blocks: i32,
  terms: usize,
  count: usize,
  tables: usize,
  work: usize,
): void {
  for (let k = 0; k < blocks; k += 4) {
    for (let part: usize = 0; part < 32; part++) tabulate(gradient + part * 32, tables + part * TABLE_BYTES, work);
    gradient += 1024;
    for (let term: usize = 0; term < count; term += 4) {
      const lines = min(4, count - term);
      threefry(terms + term * TERM_BYTES, TERM_BYTES, first + k * stride, 0, stride, lines, work);
      for (let line: usize = 0; line < lines; line++) {
        const words = work + line * 16;
        const at = sums + (term + line) * 8;
        const half = blockSum(words, tables) + blockSum(words + 4, tables + BLOCK_TABLES);
        const rest = blockSum(words + 8, tables + 2 * BLOCK_TABLES) + blockSum(words + 12, tables + 3 * BLOCK_TABLES);
        store<f64>(at, load<f64>(at) + (half + rest));
      }
    }
  }
}

/** Σ gᵢ·zᵢ of one block, in float32. */
function blockSum(words: usize, tables: usize): f64 {
  const word0 =
    lookUp(load<u8>(words), tables) +
    lookUp(load<u8>(words, 1), tables + TABLE_BYTES) +
    (lookUp(load<u8>(words, 2), tables + 2 * TABLE_BYTES) + lookUp(load<u8>(words, 3), tables + 3 * TABLE_BYTES));
  const word1 =
    lookUp(load<u8>(words, WORD_BYTES), tables + 4 * TABLE_BYTES) +
    lookUp(load<u8>(words, WORD_BYTES + 1), tables + 5 * TABLE_BYTES) +
    (lookUp(load<u8>(words, WORD_BYTES + 2), tables + 6 * TABLE_BYTES) +
      lookUp(load<u8>(words, WORD_BYTES + 3), tables + 7 * TABLE_BYTES));
  return <f64>(word0 + word1);
}

function lookUp(bits: u8, table: usize): f32 {
  return load<f32>(table + ((<usize>bits) << 2));
}

/** table `[256]` ← the sums of the eight elements, negated where the index has a bit. high: 64 bytes of space. */
function tabulate(elements: usize, table: usize, high: usize): void {
  const pair01 = signedPairs(elements);
  const pair23 = signedPairs(elements + 8);
  const pair45 = signedPairs(elements + 16);
  const pair67 = signedPairs(elements + 24);
  const low0 = f32x4.add(pair01, i32x4.shuffle(pair23, pair23, 0, 0, 0, 0));
  const low1 = f32x4.add(pair01, i32x4.shuffle(pair23, pair23, 1, 1, 1, 1));
  const low2 = f32x4.add(pair01, i32x4.shuffle(pair23, pair23, 2, 2, 2, 2));
  const low3 = f32x4.add(pair01, i32x4.shuffle(pair23, pair23, 3, 3, 3, 3));
  v128.store(high, f32x4.add(pair45, i32x4.shuffle(pair67, pair67, 0, 0, 0, 0)));
  v128.store(high, f32x4.add(pair45, i32x4.shuffle(pair67, pair67, 1, 1, 1, 1)), 16);
  v128.store(high, f32x4.add(pair45, i32x4.shuffle(pair67, pair67, 2, 2, 2, 2)), 32);
  v128.store(high, f32x4.add(pair45, i32x4.shuffle(pair67, pair67, 3, 3, 3, 3)), 48);
  for (let end = high + 64; high < end; high += 4) {
    const sum = v128.load32_splat(high);
    v128.store(table, f32x4.add(low0, sum));
    v128.store(table, f32x4.add(low1, sum), 16);
    v128.store(table, f32x4.add(low2, sum), 32);
    v128.store(table, f32x4.add(low3, sum), 48);
    table += 64;
  }
}

/** a + b, −a + b, a − b, −a − b. */
function signedPairs(elements: usize): v128 {
  const sign = 1 << 31;
  const a = v128.xor(v128.load32_splat(elements), i32x4(0, sign, 0, sign));
  const b = v128.xor(v128.load32_splat(elements, 4), i32x4(0, 0, sign, sign));
  return f32x4.add(a, b);
}
