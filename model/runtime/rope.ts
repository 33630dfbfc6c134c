/**
 * Rotary positions: the frequencies of each scaling, and the cos and sin of packed tokens. Computed on the host,
 * because `dynamic` and `longrope` depend on a row's own length. Rounded to float32 where transformers rounds.
 * Source: Su et al. 2021 (arXiv 2104.09864); scalings as in transformers' modeling_rope_utils.
 */
import type { Rope, RopeScaling } from '../architecture.ts';

/** Frequencies `[rotated / 2]` of a row of `length` tokens, and the factor on cos and sin. */
function ropeFrequencies(rope: Rope, length: number): { frequencies: Float32Array; factor: number } {
  const { scaling } = rope;
  const plain = powers(scaling.type === 'dynamic' ? dynamicTheta(rope, scaling, length) : rope.theta, rope.rotated);
  switch (scaling.type) {
    case 'default':
    case 'dynamic':
      return { frequencies: plain.map((power) => 1 / power), factor: 1 };
    case 'linear':
      return { frequencies: plain.map((power) => Math.fround(1 / power) / scaling.factor), factor: 1 };
    case 'llama3':
      return { frequencies: plain.map((power) => llama3Frequency(scaling, Math.fround(1 / power))), factor: 1 };
    case 'yarn':
      return { frequencies: yarnFrequencies(rope, scaling, plain), factor: scaling.attentionFactor };
    case 'longrope': {
      const factors = length > scaling.originalMaxPositions ? scaling.longFactor : scaling.shortFactor;
      const frequencies = plain.map((power, i) => 1 / Math.fround(Math.fround(factors[i]!) * power));
      return { frequencies, factor: scaling.attentionFactor };
    }
  }
}

/** theta^(2i / rotated) `[rotated / 2]`. */
function powers(theta: number, rotated: number): Float32Array {
  return Float32Array.from({ length: rotated / 2 }, (_, i) => theta ** Math.fround((2 * i) / rotated));
}

/** NTK-aware base: grows with the part of the row that lies beyond the model's own length. */
function dynamicTheta(rope: Rope, { factor, maxPositions }: RopeScaling & { type: 'dynamic' }, length: number): number {
  const stretch = (factor * Math.max(length, maxPositions)) / maxPositions - (factor - 1);
  return rope.theta * stretch ** (rope.rotated / (rope.rotated - 2));
}

function llama3Frequency(scaling: RopeScaling & { type: 'llama3' }, frequency: number): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency;
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor;
  const smooth = (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** Peng et al. 2023 (arXiv 2309.00071): interpolates slow dimensions, keeps fast ones, ramps between. */
function yarnFrequencies(rope: Rope, scaling: RopeScaling & { type: 'yarn' }, plain: Float32Array): Float32Array {
  const dimensionOf = (rotations: number): number =>
    (rope.rotated * Math.log(scaling.originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  let low = dimensionOf(scaling.betaFast);
  let high = dimensionOf(scaling.betaSlow);
  if (scaling.truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, rope.rotated - 1);
  if (low === high) high += 0.001;
  return plain.map((power, i) => {
    const interpolated = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return interpolated / (scaling.factor * power) + (1 - interpolated) / power;
  });
}

/** Where a token stands, and how many tokens its row has. */
export interface RowPosition {
  readonly position: number;
  readonly length: number;
}

/** Whether a token's rotation depends on its row's length, not on its position alone. */
export const dependsOnLength = ({ scaling }: Rope): boolean =>
  scaling.type === 'dynamic' || scaling.type === 'longrope';

/**
 * The length of a row from which on all its tokens turn by other factors, so that what is kept of them is of no use. `dynamic` turns
 * them otherwise with every token; what was turned stays as it was then, as in transformers.
 */
export const turnsAnewAt = ({ scaling }: Rope): number | undefined =>
  scaling.type === 'longrope' ? scaling.originalMaxPositions + 1 : undefined;

/** More than a row has tokens. */
const LENGTHS = 2 ** 26;

/** cos and sin `[N, rotated / 2]` of N tokens. */
export function ropeTables(rope: Rope, tokens: readonly RowPosition[]): { cos: Float32Array; sin: Float32Array } {
  const half = rope.rotated / 2;
  const cos = new Float32Array(tokens.length * half);
  const sin = new Float32Array(tokens.length * half);
  const ofLength = new Map<number, ReturnType<typeof ropeFrequencies>>();
  // Rows stand side by side, so most tokens turn as another before them does.
  const turnedAt = new Map<number, number>();
  let at = 0;
  for (const { position, length } of tokens) {
    const turn = position * LENGTHS + (dependsOnLength(rope) ? length : 0);
    const like = turnedAt.get(turn);
    if (like !== undefined) {
      for (const table of [cos, sin]) table.copyWithin(at, like, like + half);
      at += half;
      continue;
    }
    turnedAt.set(turn, at);
    const { frequencies, factor } = ofLength.get(length) ?? ropeFrequencies(rope, length);
    ofLength.set(length, { frequencies, factor });
    for (const frequency of frequencies) {
      const angle = Math.fround(position * frequency);
      cos[at] = Math.fround(Math.cos(angle)) * factor;
      sin[at++] = Math.fround(Math.sin(angle)) * factor;
    }
  }
  return { cos, sin };
}
