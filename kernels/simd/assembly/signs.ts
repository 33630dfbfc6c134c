/** The sign bits of a direction, as they are made. */
import { threefry, WORD_BYTES } from './threefry';

/**
 * target ← both words of the blocks first, first + 1, …, 8 bytes a block; a multiple of 16 blocks is written.
 * term: a prepared term. work: 128 bytes.
 */
export function signBlocks(target: usize, term: usize, first: i32, count: i32, work: usize): void {
  for (let block = 0; block < count; block += 16) {
    threefry(term, 0, first + block, 4, 1, 4, work);
    for (let line: usize = 0; line < 64; line += 16) {
      const word0 = v128.load(work + line);
      const word1 = v128.load(work + line, WORD_BYTES);
      v128.store(target, i32x4.shuffle(word0, word1, 0, 4, 1, 5));
      v128.store(target, i32x4.shuffle(word0, word1, 2, 6, 3, 7), 16);
      target += 32;
    }
  }
}
