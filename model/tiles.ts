/** How a batch of rows and adapters is cut into runs whose activations fit a stated memory. */
import type { Architecture } from './architecture.ts';

/**
 * Float32 elements of activations that exist at once, by estimate: 32 MiB, or a 32nd of what the weights take. Small enough
 * to stay near the caches (measured: 2^22 … 2^24 within 4 % of each other, larger ones slower), large enough that the weights
 * are read rarely.
 */
const MIN_ACTIVATION_ELEMENTS = 2 ** 23;
const WEIGHTS_PER_ACTIVATION = 32;

export interface TilePlan {
  /** Indices of the rows of each tile. Every row is in one tile. */
  readonly rows: readonly (readonly number[])[];
  /** Adapters per run. */
  readonly adapters: number;
}

/** `lengths` are the rows' tokens. All rows together where they fit under one adapter; then as many adapters as fit. */
export function planTiles(
  architecture: Architecture,
  lengths: readonly number[],
  adapters: number,
  limit = activationLimit(architecture),
): TilePlan {
  const elements = elementsOf(lengths, perToken(architecture), scoresPerPair(architecture));
  const rows = rowTiles(lengths, elements, limit);
  const largest = Math.max(...rows.map(elements));
  return { rows, adapters: Math.min(adapters, Math.max(1, Math.floor(limit / largest))) };
}

/** Elements of a tile, of which every row is as wide as the longest. */
function elementsOf(lengths: readonly number[], perToken: number, perPair: number) {
  return (tile: readonly number[]): number => {
    const longest = Math.max(...tile.map((row) => lengths[row]!));
    const tokens = tile.reduce((sum, row) => sum + lengths[row]!, 0);
    return tokens * perToken + tile.length * longest * longest * perPair;
  };
}

const activationLimit = (architecture: Architecture): number =>
  Math.max(MIN_ACTIVATION_ELEMENTS, weights(architecture) / WEIGHTS_PER_ACTIVATION);

/** Kept activations take at most 512 MiB, or a quarter of what the weights take. */
const MIN_KEPT_ELEMENTS = 2 ** 27;
const WEIGHTS_PER_KEPT = 4;
const keptLimit = (architecture: Architecture): number =>
  Math.max(MIN_KEPT_ELEMENTS, weights(architecture) / WEIGHTS_PER_KEPT);

/** About as many as the layers have. */
function weights({ layers, hiddenSize }: Architecture): number {
  const widest = Math.max(...layers.map(({ feedForward }) => feedForward.inner.down.fanIn));
  return layers.length * 4 * hiddenSize * widest;
}

/** The same for tangents: twice as much, since every run pays for the values once (measured: 4 to 8 directions 1.2 times as fast, 16 no more). */
export const directionsLimit = (architecture: Architecture): number => 2 * activationLimit(architecture);

/** All rows where they fit. Else neighbours in length go together, so that little is padded; a row that is too long is a tile alone. */
function rowTiles(
  lengths: readonly number[],
  elements: (tile: readonly number[]) => number,
  limit: number,
): (readonly number[])[] {
  const all = lengths.map((_, row) => row);
  const fits = (tile: readonly number[]): boolean => elements(tile) <= limit;
  if (fits(all)) return [all];
  const tiles: number[][] = [];
  for (const row of [...all].sort((a, b) => lengths[a]! - lengths[b]! || a - b)) {
    const tile = tiles.at(-1);
    if (tile !== undefined && fits([...tile, row])) tile.push(row);
    else tiles.push([row]);
  }
  return tiles;
}

/** Elements of one token at the widest place of a layer: residual, normalized, and what the feed-forward holds. */
function perToken({ hiddenSize, layers }: Architecture): number {
  return Math.max(
    ...layers.map(({ attention, feedForward }) => {
      const { heads, headSize } = attention.inner;
      return 3 * hiddenSize + Math.max(3 * feedForward.inner.down.fanIn, 5 * heads * headSize);
    }),
  );
}

/** Elements of one pair of places of a row: scores before and after softmax. */
function scoresPerPair({ layers }: Architecture): number {
  return 2 * Math.max(...layers.map(({ attention }) => attention.inner.heads));
}

/** The tiles of a gradient, all of whose activations are kept until it has gone back through their layer. */
export function planGradient(
  architecture: Architecture,
  lengths: readonly number[],
  limit = keptLimit(architecture),
): TilePlan['rows'] {
  const { hiddenSize, layers } = architecture;
  let [perToken, perPair] = [0, 0];
  for (const { attention, feedForward } of layers) {
    const { heads, keyValueHeads, headSize, softcap } = attention.inner;
    perToken += 4 * hiddenSize + (3 * heads + 2 * keyValueHeads) * headSize + 4 * feedForward.inner.down.fanIn;
    perPair += (softcap === undefined ? 1 : 2) * heads;
  }
  return rowTiles(lengths, elementsOf(lengths, perToken, perPair), limit);
}
