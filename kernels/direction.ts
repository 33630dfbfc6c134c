/** Random directions z ∈ {−1, 0, +1}ᵈ: blocks of 64 Rademacher signs, of which every `stripes`-th is used. */
import assert from 'node:assert/strict';
import { STRIPES } from '../proto/limits.ts';
import { firstBlockOf } from './random-keys.ts';
import { threefry, type WordPair } from './threefry.ts';

/** Elements of a block: the 64 bits of one Threefry output. */
export const BLOCK = 64;

/** Blocks that d elements take; the last may have bits to spare. */
export const blocksOf = (d: number): number => Math.ceil(d / BLOCK);

/** Throws unless `stripes` is allowed for `d` elements: 64·m ≤ d, so that each direction has a non-zero element. */
export function assertStripes(stripes: number, d: number): void {
  assert(
    STRIPES.some((m) => m === stripes) && (stripes === 1 || BLOCK * stripes <= d),
    `directionStripes ${stripes} with ${d} adapter elements: expected one of ${STRIPES.join(', ')} with 64 x stripes <= elements`,
  );
}

/** Sign-additions for which one core takes some 30 ms: applying such a round is little beside measuring it. */
const CHEAP_ROUND = 2 ** 28;
/** The most stripes that were measured to learn as well as 1, and the directions of a round that then touch an element. */
const MOST_CHOSEN = 64;
const LEAST_TOUCHES = 16;

/**
 * The stripes for a run that names none: the fewest with which applying `gradients` gradients to d elements is cheap, but not
 * so many that runs were measured to suffer.
 */
export function chooseStripes(d: number, gradients: number): (typeof STRIPES)[number] {
  const most = Math.min(MOST_CHOSEN, gradients / LEAST_TOUCHES, d / BLOCK);
  const allowed = STRIPES.filter((m) => m === 1 || m <= most);
  return allowed.find((m) => (gradients * d) / m <= CHEAP_ROUND) ?? allowed.at(-1)!;
}

/** Calls `visit` with the first element and the two sign words of each used block, ascending. */
function forEachBlock(
  key: WordPair,
  index: number,
  d: number,
  stripes: number,
  visit: (firstElement: number, word0: number, word1: number) => void,
): void {
  const first = firstBlockOf(key, index, stripes);
  for (let block = first; block * BLOCK < d; block += stripes) {
    const [word0, word1] = threefry(key, block, index);
    visit(block * BLOCK, word0, word1);
  }
}

/** sum[i] += q·zᵢ for direction `index` under `key`. sum: int32 `[d]`. */
export function addDirection(sum: Int32Array, q: number, key: WordPair, index: number, stripes: number): void {
  forEachBlock(key, index, sum.length, stripes, (first, word0, word1) => {
    const end = Math.min(first + BLOCK, sum.length);
    for (let i = first; i < end; i++) {
      const word = i - first < 32 ? word0 : word1;
      sum[i]! += (word >>> (i & 31)) & 1 ? -q : q;
    }
  });
}

/** Σ vectorᵢ·zᵢ for direction `index` under `key`, in float64. vector: `[d]` */
export function dotDirection(vector: Float32Array, key: WordPair, index: number, stripes: number): number {
  let sum = 0;
  forEachBlock(key, index, vector.length, stripes, (first, word0, word1) => {
    const end = Math.min(first + BLOCK, vector.length);
    for (let i = first; i < end; i++) {
      const word = i - first < 32 ? word0 : word1;
      sum += (word >>> (i & 31)) & 1 ? -vector[i]! : vector[i]!;
    }
  });
  return sum;
}

/** The words of all blocks of direction `index`, `[2 · blocks]`: in memory, bit i & 7 of byte i >> 3 is element i's. */
export function signWords(key: WordPair, index: number, d: number): Uint32Array {
  const words = new Uint32Array(2 * blocksOf(d));
  forEachBlock(key, index, d, 1, (first, word0, word1) => words.set([word0, word1], (2 * first) / BLOCK));
  return words;
}

/** z of direction `index` under `key`: bit i&63 of block i>>6, bit 0 → +1, 1 → −1, unused blocks 0. `[d]` */
export function direction(key: WordPair, index: number, d: number, stripes: number): Int8Array {
  const z = new Int32Array(d);
  addDirection(z, 1, key, index, stripes);
  return Int8Array.from(z);
}
