/** Threefry-2x32 with 20 rounds: the counter-based generator behind every direction. Not a stream; every output is addressable alone. */

/** Two 32-bit words, each 0…2³²−1: a key, a counter or an output. */
export type WordPair = readonly [number, number];

/** Rotation distances of Threefry-2x32, two groups of four (Salmon et al. 2011, table 2). */
const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;
/** What the third key word is mixed with (the same paper, section 2.2). */
export const SKEIN_PARITY = 0x1bd11bda;

/**
 * The two output words for `key` and `counter`.
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Random123); JAX uses the same function.
 */
export function threefry(key: WordPair, counter0: number, counter1: number): [number, number] {
  const schedule = [key[0] | 0, key[1] | 0, key[0] ^ key[1] ^ SKEIN_PARITY] as const;
  let x0 = (counter0 + schedule[0]) | 0;
  let x1 = (counter1 + schedule[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (const distance of ROTATIONS[(group & 1) as 0 | 1]) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << distance) | (x1 >>> (32 - distance))) ^ x0;
    }
    x0 = (x0 + schedule[((group + 1) % 3) as 0 | 1 | 2]) | 0;
    x1 = (x1 + schedule[((group + 2) % 3) as 0 | 1 | 2] + group + 1) | 0;
  }
  return [x0 >>> 0, x1 >>> 0];
}
