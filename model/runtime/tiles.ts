/** How a batch of rows and adapters is cut into runs whose activations fit a stated memory. */
import type { Architecture } from '../architecture.ts';
import { completionRow, type TokenRow } from '../token-row.ts';

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

/** Float32 elements. */
interface Room {
  /** Of activations at once. */
  readonly limit?: number | undefined;
  /** That a label position takes in the same run, where the head is part of it. */
  readonly perLabel?: number;
  /** That each adapter takes, whatever the rows. */
  readonly perAdapter?: number;
}

/** All rows together where they fit under one adapter; then as many adapters as fit. */
export function planTiles(
  architecture: Architecture,
  rows: readonly TokenRow[],
  adapters: number,
  { limit = activationLimit(architecture), perLabel = 0, perAdapter = 0 }: Room = {},
): TilePlan {
  const costs = { perToken: perToken(architecture), perPair: scoresPerPair(architecture), perLabel };
  const tiles = rowTiles(rows, costs, limit);
  const largest = perAdapter + Math.max(...tiles.map(({ elements }) => elements));
  return {
    rows: tiles.map(({ rows }) => rows),
    adapters: Math.min(adapters, Math.max(1, Math.floor(limit / largest))),
  };
}

/** The same for tangents: twice as much, since every run pays for the values once (measured: 4 to 8 directions 1.2 times as fast, 16 no more). */
export const directionsLimit = (architecture: Architecture): number => 2 * activationLimit(architecture);

/** Float32 elements of activations at once, where nothing else is said. */
export const activationLimit = (architecture: Architecture): number =>
  Math.max(MIN_ACTIVATION_ELEMENTS, weights(architecture) / WEIGHTS_PER_ACTIVATION);

/** Tiles of one adapter's losses where the head is part of the run: logits and their logarithmic softmax are there at once. */
export const planLosses = (architecture: Architecture, rows: readonly TokenRow[], limit: number | undefined) =>
  planTiles(architecture, rows, 1, { limit, perLabel: 2 * architecture.vocabularySize }).rows;

/** About as many as the layers have. */
function weights({ layers, hiddenSize }: Architecture): number {
  const widest = Math.max(...layers.map(({ feedForward }) => feedForward.inner.down.fanIn));
  return layers.length * 4 * hiddenSize * widest;
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

/** One run of a gradient. */
export interface GradientTile {
  readonly rows: readonly number[];
  /** Whether a layer's activations are made again when it is gone back through, as they are too many to be kept: a third more work. */
  readonly remake: boolean;
}

/** Kept activations of a gradient take at most 512 MiB, or a quarter of what the weights take. */
const MIN_KEPT_ELEMENTS = 2 ** 27;
const WEIGHTS_PER_KEPT = 4;

/** As many rows in a run as can be kept whole; a row that cannot be kept alone is made again layer by layer. */
export function planGradient(
  architecture: Architecture,
  rows: readonly TokenRow[],
  limit = keptLimit(architecture),
): GradientTile[] {
  return rowTiles(rows, keptCosts(architecture), limit).map(({ rows, elements }) => ({
    rows,
    remake: elements > limit,
  }));
}

/** Whether a gradient of every row of at most so many tokens keeps its activations, by the same plan. */
export function keepsRows(architecture: Architecture, tokens: number, limit = keptLimit(architecture)): boolean {
  const longest = completionRow(new Array<number>(tokens).fill(0), 1);
  return planGradient(architecture, [longest], limit).every(({ remake }) => !remake);
}

/** Float32 elements that a gradient keeps, where nothing else is said. */
export const keptLimit = (architecture: Architecture): number =>
  Math.max(MIN_KEPT_ELEMENTS, weights(architecture) / WEIGHTS_PER_KEPT);

/** What all layers keep, and logits with what the head makes of them. */
function keptCosts({ hiddenSize, layers, vocabularySize }: Architecture): Costs {
  let [perToken, perPair] = [0, 0];
  for (const { attention, feedForward } of layers) {
    const { heads, keyValueHeads, headSize, softcap } = attention.inner;
    perToken += 4 * hiddenSize + (3 * heads + 2 * keyValueHeads) * headSize + 4 * feedForward.inner.down.fanIn;
    perPair += (softcap === undefined ? 1 : 2) * heads;
  }
  return { perToken, perPair, perLabel: 4 * vocabularySize };
}

/** Float32 elements of activations. */
interface Costs {
  readonly perToken: number;
  readonly perPair: number;
  readonly perLabel: number;
}

interface RowTile {
  readonly rows: readonly number[];
  readonly elements: number;
}

/** All rows where they fit. Else neighbours in length go together, so that little is padded; a row that is too long is a tile alone. */
function rowTiles(rows: readonly TokenRow[], costs: Costs, limit: number): RowTile[] {
  const tileOf = (tile: readonly number[]): RowTile => ({ rows: tile, elements: elementsOf(rows, tile, costs) });
  const all = rows.map((_, row) => row);
  const whole = tileOf(all);
  if (whole.elements <= limit) return [whole];
  const length = (row: number): number => rows[row]!.ids.length;
  const tiles: RowTile[] = [];
  for (const row of all.sort((a, b) => length(a) - length(b) || a - b)) {
    const longer = tileOf([...(tiles.at(-1)?.rows ?? []), row]);
    if (tiles.length > 0 && longer.elements <= limit) tiles[tiles.length - 1] = longer;
    else tiles.push(tileOf([row]));
  }
  return tiles;
}

/** The elements of a tile, in which every row is as wide as the longest. */
function elementsOf(rows: readonly TokenRow[], tile: readonly number[], costs: Costs): number {
  const lengths = tile.map((row) => rows[row]!.ids.length);
  const longest = Math.max(...lengths);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const labels = tile.reduce((sum, row) => sum + rows[row]!.labels.length, 0);
  return tokens * costs.perToken + tile.length * longest * longest * costs.perPair + labels * costs.perLabel;
}
