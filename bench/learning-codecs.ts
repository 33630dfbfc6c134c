/** Codecs that the gradient byte is compared with. None but E4M3 exists outside the benchmark. */
import { DECODED_512, encodeE4m3, LARGEST_512, STEPS_PER_UNIT } from '../proto/e4m3.ts';

export interface Codec {
  readonly bits: number;
  /**
   * 512 × the value that a receiver decodes, an integer: the learning rule's Q.
   * @param x finite, g·2⁻ˢ: rms 6 to 11 once a run has begun
   * @param word uniform integer 0…2³²−1, for stochastic rounding
   */
  quantise(x: number, word: number): number;
}

const clamp = (q: number, largest: number): number => Math.max(-largest, Math.min(largest, q));

export const CODECS = {
  E4M3: { bits: 8, quantise: (x, word) => DECODED_512[encodeE4m3(x, word)]! },
  /** Steps of ¼ up to ±31.75, stochastically rounded. */
  int8: { bits: 8, quantise: (x, word) => 128 * clamp(Math.floor(4 * x + word / 2 ** 32), 127) },
  /** ±8, the rms that the others have, so that the exponent stays. */
  sign: { bits: 1, quantise: (x) => (x < 0 ? -8 : 8) * STEPS_PER_UNIT },
  /** To the nearest 2⁻⁹, the rule's own resolution: 12 bits and more of what float32 holds. */
  float32: { bits: 32, quantise: (x) => clamp(Math.round(STEPS_PER_UNIT * x), LARGEST_512) },
} as const satisfies { [name: string]: Codec };
export type CodecName = keyof typeof CODECS;
