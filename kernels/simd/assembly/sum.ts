/**
 * S = Σ q·z for blocks of 64 elements, without a direction in memory: per quad of blocks and run of terms (../plan.ts),
 * first the sign bits of each four terms as nibbles, then for each nibble a look-up of what those four terms add.
 */
import { TERM_BYTES, threefry, WORD_BYTES } from './threefry';

/** A run header: groups (even), planes, shift, unused; uint32 each. */
const RUN_BYTES: usize = 16;
/** Sign bits of one group (4 terms) on 4 blocks of 64 elements. */
const GROUP_SIGN_BYTES: usize = 128;
const TABLE_BYTES: usize = 16;
/** Int32 accumulators of 4 blocks. */
const QUAD_BYTES: usize = 1024;
const BLOCK_BYTES: usize = 256;

/**
 * sum `[count · 64]` int32 ← Σ q·z for the blocks first, first + stride, …, `count` of them, in that order (dense).
 * plan: runs of terms, ended by a run of 0 groups. total: Σ|q|. work: space for the signs of the longest run and 1 quad.
 * A multiple of 4 blocks is written.
 */
export function sumBlocks(sum: usize, first: i32, stride: i32, count: i32, plan: usize, total: i32, work: usize): void {
  for (let k = 0; k < count; k += 4) {
    memory.fill(work, 0, QUAD_BYTES);
    let run = plan;
    for (let groups = load<u32>(run); groups > 0; groups = load<u32>(run)) {
      const terms = run + RUN_BYTES;
      storeSigns(terms, groups, first + k * stride, stride, work + QUAD_BYTES);
      let table = terms + <usize>groups * 4 * TERM_BYTES;
      const planes = load<u32>(run, 4);
      let shift = load<i32>(run, 8);
      for (let plane: u32 = 0; plane < planes; plane++) {
        addPlane(work, work + QUAD_BYTES, table, groups, shift);
        table += <usize>groups * TABLE_BYTES;
        shift += 7;
      }
      run = table;
    }
    storeQuad(sum, work, total);
    sum += QUAD_BYTES;
  }
}

/**
 * signs `[groups, 2 words, 4 bits of a nibble]` of v128: byte (block, byte of the word), nibble of the sign bits of the
 * group's 4 terms. A group's first term says how many of its terms are live; the tables of the others are 0.
 */
function storeSigns(terms: usize, groups: u32, block: i32, stride: i32, signs: usize): void {
  for (let group: u32 = 0; group < groups; group++) {
    threefry(terms, TERM_BYTES, block, 0, stride, load<u32>(terms, 40), signs);
    terms += 4 * TERM_BYTES;
    transposeNibbles(signs);
    transposeNibbles(signs + WORD_BYTES);
    signs += GROUP_SIGN_BYTES;
  }
}

/** Four vectors of bits, in place: bit r of each nibble of vector t → bit t of that nibble of vector r. */
function transposeNibbles(at: usize): void {
  let a = v128.load(at);
  let b = v128.load(at, 16);
  let c = v128.load(at, 32);
  let d = v128.load(at, 48);
  const odd = i8x16.splat(0x55);
  const pair = i8x16.splat(0x33);
  let swap = v128.and(v128.xor(i32x4.shr_u(a, 1), b), odd);
  b = v128.xor(b, swap);
  a = v128.xor(a, i32x4.add(swap, swap));
  swap = v128.and(v128.xor(i32x4.shr_u(c, 1), d), odd);
  d = v128.xor(d, swap);
  c = v128.xor(c, i32x4.add(swap, swap));
  swap = v128.and(v128.xor(i32x4.shr_u(a, 2), c), pair);
  v128.store(at, v128.xor(a, i32x4.shl(swap, 2)));
  v128.store(at, v128.xor(c, swap), 32);
  swap = v128.and(v128.xor(i32x4.shr_u(b, 2), d), pair);
  v128.store(at, v128.xor(b, i32x4.shl(swap, 2)), 16);
  v128.store(at, v128.xor(d, swap), 48);
}

/** accumulators += (what one plane of the groups' tables adds) << shift, for all 256 elements of the quad. */
function addPlane(accumulators: usize, signs: usize, tables: usize, groups: u32, shift: i32): void {
  const nibble = i8x16.splat(15);
  for (let vector: usize = 0; vector < 8; vector++) {
    let at = signs + vector * 16;
    let table = tables;
    let lowAll = i16x8.splat(0);
    let lowOdd = i16x8.splat(0);
    let highAll = i16x8.splat(0);
    let highOdd = i16x8.splat(0);
    for (let group: u32 = 0; group < groups; group += 2) {
      const first = v128.load(at);
      const second = v128.load(at, GROUP_SIGN_BYTES);
      const firstTable = v128.load(table);
      const secondTable = v128.load(table, TABLE_BYTES);
      // Table entries are below 128: the sum of two fits a byte.
      const low = i8x16.add(
        i8x16.swizzle(firstTable, v128.and(first, nibble)),
        i8x16.swizzle(secondTable, v128.and(second, nibble)),
      );
      lowAll = i16x8.add(lowAll, low);
      lowOdd = i16x8.add(lowOdd, i16x8.shr_u(low, 8));
      const high = i8x16.add(
        i8x16.swizzle(firstTable, v128.and(i16x8.shr_u(first, 4), nibble)),
        i8x16.swizzle(secondTable, v128.and(i16x8.shr_u(second, 4), nibble)),
      );
      highAll = i16x8.add(highAll, high);
      highOdd = i16x8.add(highOdd, i16x8.shr_u(high, 8));
      at += 2 * GROUP_SIGN_BYTES;
      table += 2 * TABLE_BYTES;
    }
    const word = accumulators + (vector >> 2) * 512 + (vector & 3) * 16;
    addWide(word, lowAll, lowOdd, shift);
    addWide(word + 256, highAll, highOdd, shift);
  }
}

/** Four accumulator vectors (one per block, 64 bytes apart) += 16 byte sums << shift; lane = byte of the word. */
function addWide(at: usize, all: v128, odd: v128, shift: i32): void {
  const even = i16x8.sub(all, i16x8.shl(odd, 8));
  const blocks01 = i16x8.shuffle(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
  const blocks23 = i16x8.shuffle(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
  addShifted(at, i32x4.extend_low_i16x8_u(blocks01), shift);
  addShifted(at + 64, i32x4.extend_high_i16x8_u(blocks01), shift);
  addShifted(at + 128, i32x4.extend_low_i16x8_u(blocks23), shift);
  addShifted(at + 192, i32x4.extend_high_i16x8_u(blocks23), shift);
}

function addShifted(at: usize, values: v128, shift: i32): void {
  v128.store(at, i32x4.add(v128.load(at), i32x4.shl(values, shift)));
}

/**
 * sum `[4, 64]` ← 2·accumulators − total, from the order [word, high nibble, block, bit of the nibble, byte of the word]
 * to element order [block, word, byte of the word, high nibble, bit of the nibble].
 */
function storeQuad(sum: usize, accumulators: usize, total: i32): void {
  const bias = i32x4.splat(total);
  for (let word: usize = 0; word < 2; word++) {
    for (let high: usize = 0; high < 2; high++) {
      let to = sum + word * 128 + high * 16;
      for (let block = 0; block < 4; block++) {
        const a = v128.load(accumulators);
        const b = v128.load(accumulators, 16);
        const c = v128.load(accumulators, 32);
        const d = v128.load(accumulators, 48);
        const ab01 = i32x4.shuffle(a, b, 0, 4, 1, 5);
        const ab23 = i32x4.shuffle(a, b, 2, 6, 3, 7);
        const cd01 = i32x4.shuffle(c, d, 0, 4, 1, 5);
        const cd23 = i32x4.shuffle(c, d, 2, 6, 3, 7);
        storeDoubled(to, i64x2.shuffle(ab01, cd01, 0, 2), bias);
        storeDoubled(to + 32, i64x2.shuffle(ab01, cd01, 1, 3), bias);
        storeDoubled(to + 64, i64x2.shuffle(ab23, cd23, 0, 2), bias);
        storeDoubled(to + 96, i64x2.shuffle(ab23, cd23, 1, 3), bias);
        accumulators += 64;
        to += BLOCK_BYTES;
      }
    }
  }
}

function storeDoubled(at: usize, values: v128, bias: v128): void {
  v128.store(at, i32x4.sub(i32x4.add(values, values), bias));
}
