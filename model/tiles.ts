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
  const elements = (tile: readonly number[]): number => {
    const longest = Math.max(...tile.map((row) => lengths[row]!));
    return (
      tile.reduce((sum, row) => sum + lengths[row]!, 0) * perToken(architecture) +
      tile.length * longest * longest * scoresPerPair(architecture)
    );
  };
  const all = lengths.map((_, row) => row);
  const rows = elements(all) <= limit ? [all] : rowTiles(all, lengths, (tile) => elements(tile) <= limit);
  const largest = Math.max(...rows.map(elements));
  return { rows, adapters: Math.min(adapters, Math.max(1, Math.floor(limit / largest))) };
}

/** Float32 elements of activations at once, where nothing else is said. */
export function activationLimit({ layers, hiddenSize }: Architecture): number {
  const widest = Math.max(...layers.map(({ feedForward }) => feedForward.inner.down.fanIn));
  return Math.max(MIN_ACTIVATION_ELEMENTS, (layers.length * 4 * hiddenSize * widest) / WEIGHTS_PER_ACTIVATION);
}

/** The same for tangents: twice as much, since every run pays for the values once (measured: 4 to 8 directions 1.2 times as fast, 16 no more). */
export const directionsLimit = (architecture: Architecture): number => 2 * activationLimit(architecture);

/** Neighbours in length go together, so that little is padded. A row that is too long alone is a tile of its own. */
function rowTiles(
  all: readonly number[],
  lengths: readonly number[],
  fits: (tile: readonly number[]) => boolean,
): number[][] {
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
