/** Which Threefry key and counter makes which random number of a run: the whole map, in one place. */
import assert from 'node:assert/strict';
import { threefry, type WordPair } from './threefry.ts';

/** Counter words at the top of the range are never block numbers: an adapter has fewer than 2³² − 2 blocks. */
const STRIPE_OFFSET_COUNTER = 0xffffffff;
const ROUNDING_COUNTER = 0xfffffffe;
const INITIAL_ADAPTER_COUNTER = 0xffffffff;

/** The key of a run: seed (an integer, 0…2⁵³−1) as low and high word. */
export function seedKey(seed: number): WordPair {
  assert(Number.isSafeInteger(seed) && seed >= 0, `run seed ${seed}: expected an integer 0…2^53-1`);
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** The key of all directions that `worker` measures in `round`. */
export function roundKey(run: WordPair, round: number, worker: number): WordPair {
  return threefry(run, round, worker);
}

/** The key of the initial adapter's A matrices. */
export function initialAdapterKey(run: WordPair): WordPair {
  return threefry(run, INITIAL_ADAPTER_COUNTER, INITIAL_ADAPTER_COUNTER);
}

/** A direction uses the blocks first, first + stripes, first + 2·stripes, … `stripes` is a power of two. */
export function firstBlockOf(round: WordPair, direction: number, stripes: number): number {
  return stripes === 1 ? 0 : -threefry(round, STRIPE_OFFSET_COUNTER, direction)[0] & (stripes - 1);
}

/** The uniform 32-bit word that rounds the gradient byte of `direction`. */
export function roundingWord(round: WordPair, direction: number): number {
  return threefry(round, ROUNDING_COUNTER, direction)[0];
}
