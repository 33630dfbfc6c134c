/** One pass of the model for many adapters: the trunk tile by tile, then the head in pieces. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import type { HeadOutput } from '../graph/head.ts';
import { adapterInput, tangentInput } from '../graph/trunk.ts';
import type { TokenRow } from '../token-row.ts';
import {
  type AdapterSource,
  type ForwardAdapter,
  frozenFeeds,
  givenAdapters,
  signedAdapters,
  trainedFeeds,
} from './adapter-feeds.ts';
import { ActivationRoom } from './device-memory.ts';
import { addUp, type Tile } from './label-sums.ts';
import { bool, int64, type PackedRows, packRows } from './packing.ts';
import { noDirection, type SignedDirections } from './signed-feeds.ts';
import { activationLimit, directionsLimit, planTiles, type TilePlan } from './tiles.ts';

/** Float32 elements of logits that exist at once: 32 MiB, or a quarter of what activations may take. */
const MIN_LOGITS_ELEMENTS = 2 ** 23;
const ACTIVATIONS_PER_LOGIT = 4;
/** Adapters that are made of sign bits are there several times while they are made: signs, sums, matrices, halves. */
const COPIES_OF_MADE = 3;
/** Length of the directions that tangents are made along: along a whole one they may leave float16. A power of two changes no other bit. */
const SIGNED_STEP = 2 ** -8;
const NO_DIRECTIONS: SignedDirections = { signs: new Uint8Array(), firstBlocks: [], stripes: 1 };

interface PassOptions {
  readonly tangents: boolean;
  /** Whether the trunk makes its adapters of sign bits. */
  readonly signed: boolean;
  readonly maxActivationElements: number | undefined;
}

export class ForwardPass {
  private readonly model: BaseModel;
  private readonly adapter: ForwardAdapter | undefined;
  private readonly trunk: InferenceSession;
  private readonly headFor: (output: HeadOutput) => Promise<InferenceSession>;
  private readonly tangents: boolean;
  private readonly signed: boolean;
  private readonly room: ActivationRoom;

  constructor(
    model: BaseModel,
    adapter: ForwardAdapter | undefined,
    trunk: InferenceSession,
    headFor: (output: HeadOutput) => Promise<InferenceSession>,
    { tangents, signed, maxActivationElements }: PassOptions,
  ) {
    this.model = model;
    this.adapter = adapter;
    this.trunk = trunk;
    this.headFor = headFor;
    this.tangents = tangents;
    this.signed = signed;
    this.room = new ActivationRoom(maxActivationElements);
  }

  /** `run`, in smaller pieces from now on where the device's memory does not hold the ones so far. */
  fitting<T>(run: () => Promise<T>): Promise<T> {
    const { architecture } = this.model;
    return this.room.fitting(this.tangents ? directionsLimit(architecture) : activationLimit(architecture), run);
  }

  async losses(rows: readonly TokenRow[], adapters: AdapterSource): Promise<Float64Array> {
    const losses = new Float64Array(adapters.count * rows.length);
    await this.eachTile(rows, adapters, false, async ({ hidden }, packed, tile) => {
      const targets = Array.from({ length: tile.adapters }, () => packed.targets).flat();
      const { nll } = await this.head(hidden!.data as Float32Array, targets, false);
      addUp(nll, rows, tile, losses);
    });
    return losses;
  }

  async logits(rows: readonly TokenRow[], adapters: AdapterSource): Promise<Float32Array> {
    const { vocabularySize } = this.model;
    const { size } = this.model.architecture.embedding;
    const logits = new Float32Array(adapters.count * rows.length * vocabularySize);
    const head = await this.headFor('logits');
    await this.eachTile(rows, adapters, false, async ({ hidden }, _packed, tile) => {
      const states = hidden!.data as Float32Array;
      let label = 0;
      for (let g = 0; g < tile.adapters; g++)
        for (const row of tile.rows) {
          const view = states.subarray(label * size, (label + 1) * size);
          const output = await head.run({ hidden: new Tensor('float32', view, [1, size]) });
          const at = ((tile.firstAdapter + g) * rows.length + row) * vocabularySize;
          logits.set(output.logits!.data as Float32Array, at);
          label += rows[row]!.labels.length;
        }
    });
    return logits;
  }

  async slopes(
    rows: readonly TokenRow[],
    theta: Float32Array,
    directions: Float32Array | SignedDirections,
    losses?: Float64Array,
  ): Promise<Float64Array> {
    assert(this.tangents && this.adapter !== undefined, 'a forward pass made with tangents');
    assert.equal(
      this.signed,
      !(directions instanceof Float32Array),
      'sign bits where the pass makes directions of them',
    );
    const along = this.alongDirections(theta, directions);
    const slopes = new Float64Array(along.count * rows.length);
    await this.eachTile(rows, along, true, async ({ hidden, tangents }, packed, tile) => {
      const { nll, slope } = await this.head(hidden!.data as Float32Array, packed.targets, true);
      const products = rowProducts(tangents!.data as Float32Array, slope, packed.targets.length * tile.adapters);
      if (this.signed) for (let i = 0; i < products.length; i++) products[i]! /= SIGNED_STEP;
      addUp(products, rows, tile, slopes);
      if (losses) addUp(nll, rows, { rows: tile.rows, firstAdapter: 0, adapters: 1 }, losses);
    });
    return slopes;
  }

  plan(rows: readonly TokenRow[], adapters: number): TilePlan {
    return this.planWithin(rows, adapters, activationLimit(this.model.architecture));
  }

  planDirections(rows: readonly TokenRow[], directions: number): TilePlan {
    return this.planWithin(rows, directions, directionsLimit(this.model.architecture));
  }

  private planWithin(rows: readonly TokenRow[], adapters: number, limit: number): TilePlan {
    // By the CPU's caches adapters do not count.
    if (this.room.limit === undefined) return planTiles(this.model.architecture, rows, adapters, { limit });
    const perAdapter = this.signed ? COPIES_OF_MADE * this.adapter!.layout.elements : 0;
    return planTiles(this.model.architecture, rows, adapters, { limit: this.room.limit, perAdapter });
  }

  /** Adapters as they lie in `scratch` `[G · d]`, tensor-major: one, where the trunk makes others of sign bits. */
  adapters(adapters: number, scratch: Float32Array | undefined): AdapterSource {
    if (this.adapter === undefined || scratch === undefined) {
      assert(adapters === 1 && this.adapter === undefined, 'one adapter, without a layout');
      return { count: 1, feeds: () => ({}) };
    }
    const { layout } = this.adapter;
    assert.equal(scratch.length, adapters * layout.elements, 'scratch holds G adapters of d elements');
    assert(adapters === 1 || !(this.tangents || this.signed), 'one adapter, with tangents or of sign bits');
    if (this.tangents) {
      const { feeds } = this.alongDirections(scratch, this.signed ? NO_DIRECTIONS : new Float32Array());
      return { count: 1, feeds: () => feeds(0, 0) };
    }
    if (this.signed) return signedAdapters(layout, scratch, noDirection(layout), [{ direction: 0, step: 0 }]);
    return givenAdapters(layout, scratch, adapters);
  }

  /** θ, and directions from the first on. */
  private alongDirections(theta: Float32Array, directions: Float32Array | SignedDirections): AdapterSource {
    const { layout } = this.adapter!;
    if (!(directions instanceof Float32Array)) {
      const moves = directions.firstBlocks.map((_, direction) => ({ direction, step: SIGNED_STEP }));
      return signedAdapters(layout, theta, directions, moves);
    }
    const copies = directions.length / layout.elements;
    const at = trainedFeeds(layout, adapterInput, theta, { copies: 1, first: 0, count: 1 });
    const along = (first: number, count: number) =>
      trainedFeeds(layout, tangentInput, directions, { copies, first, count });
    return { count: copies, feeds: (first, count) => ({ ...at, ...along(first, count) }) };
  }

  /** Runs the trunk tile by tile; `use` gets what each run gives: hidden `[G, L, size]`, and tangents `[K, L, size]` if wanted. */
  private async eachTile(
    rows: readonly TokenRow[],
    adapters: AdapterSource,
    differentiate: boolean,
    use: (output: InferenceSession.ReturnType, packed: PackedRows, tile: Tile) => Promise<void>,
  ): Promise<void> {
    const plan = differentiate ? this.planDirections(rows, adapters.count) : this.plan(rows, adapters.count);
    for (const tileRows of plan.rows) {
      const packed = packRows(
        tileRows.map((row) => rows[row]!),
        this.model.architecture,
      );
      for (let first = 0; first < adapters.count; first += plan.adapters) {
        const taken = Math.min(plan.adapters, adapters.count - first);
        const output = await this.trunk.run({
          ...packed.feeds,
          ...adapters.feeds(first, taken),
          ...(this.adapter && frozenFeeds(this.adapter)),
          ...(this.tangents && { differentiate: bool(differentiate) }),
        });
        await use(output, packed, { rows: tileRows, firstAdapter: first, adapters: taken });
      }
    }
  }

  /** `hidden` `[M, size]` to nll `[M]`, and slope `[M, size]` if wanted, in pieces that bound the memory of the logits. */
  private async head(
    hidden: Float32Array,
    targets: readonly number[],
    slopes: boolean,
  ): Promise<{ nll: Float32Array; slope: Float32Array }> {
    const { size } = this.model.architecture.embedding;
    const head = await this.headFor(this.tangents ? 'slope' : 'nll');
    const elements = Math.max(MIN_LOGITS_ELEMENTS, (this.room.limit ?? 0) / ACTIVATIONS_PER_LOGIT);
    const piece = Math.max(1, Math.floor(elements / this.model.vocabularySize));
    const nll = new Float32Array(targets.length);
    const slope = new Float32Array(slopes ? hidden.length : 0);
    for (let from = 0; from < targets.length; from += piece) {
      const part = targets.slice(from, from + piece);
      const view = hidden.subarray(from * size, (from + part.length) * size);
      const output = await head.run({
        hidden: new Tensor('float32', view, [part.length, size]),
        targets: int64(part, [part.length, 1]),
        ...(this.tangents && { differentiate: bool(slopes) }),
      });
      nll.set(output.nll!.data as Float32Array, from);
      if (slopes) slope.set(output.slope!.data as Float32Array, from * size);
    }
    return { nll, slope };
  }
}

/** Products of rows `[rows, size]` with rows `[n, size]` taken in turn, float64 `[rows]`. */
function rowProducts(a: Float32Array, b: Float32Array, rows: number): Float64Array {
  const size = a.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => {
    const [at, other] = [row * size, (row * size) % b.length];
    let sum = 0;
    for (let i = 0; i < size; i++) sum += a[at + i]! * b[other + i]!;
    return sum;
  });
}
