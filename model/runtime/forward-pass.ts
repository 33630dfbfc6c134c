/** One pass of the model for many adapters: the trunk tile by tile, then the head in pieces. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import type { HeadOutput } from '../graph/head.ts';
import { adapterInput, tangentInput } from '../graph/trunk.ts';
import { int64, type PackedRows, packRows } from '../packing.ts';
import { activationLimit, directionsLimit, planTiles, type TilePlan } from '../tiles.ts';
import type { TokenRow } from '../token-row.ts';
import { type ForwardAdapter, frozenFeeds, trainedFeeds } from './adapter-feeds.ts';
import { withinMemory } from './device-memory.ts';
import { addUp, type Tile } from './label-sums.ts';

/** Float32 elements of logits that exist at once: 32 MiB. */
const MAX_LOGITS_ELEMENTS = 2 ** 23;
/** Float32 elements of activations below which a pass is cut no further: 64 KiB, one short row of any model. */
const SMALLEST_ACTIVATIONS = 2 ** 14;

export class ForwardPass {
  private readonly model: BaseModel;
  private readonly adapter: ForwardAdapter | undefined;
  private readonly trunk: InferenceSession;
  private readonly headFor: (output: HeadOutput) => Promise<InferenceSession>;
  private readonly tangents: boolean;
  private maxActivationElements: number | undefined;

  constructor(
    model: BaseModel,
    adapter: ForwardAdapter | undefined,
    trunk: InferenceSession,
    headFor: (output: HeadOutput) => Promise<InferenceSession>,
    tangents: boolean,
    maxActivationElements: number | undefined,
  ) {
    this.model = model;
    this.adapter = adapter;
    this.trunk = trunk;
    this.headFor = headFor;
    this.tangents = tangents;
    this.maxActivationElements = maxActivationElements;
  }

  /** `run`, in smaller pieces from now on where the device's memory does not hold the ones so far. */
  async fitting<T>(run: () => Promise<T>): Promise<T> {
    const { architecture } = this.model;
    const first = this.maxActivationElements;
    const limit = first ?? (this.tangents ? directionsLimit(architecture) : activationLimit(architecture));
    const { result } = await withinMemory(limit, SMALLEST_ACTIVATIONS, (elements) => {
      if (elements < limit) this.maxActivationElements = elements;
      return run();
    });
    return result;
  }

  async losses(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float64Array> {
    const losses = new Float64Array(adapters * rows.length);
    await this.eachTile(rows, adapters, scratch, async (hidden, packed, tile) => {
      const targets = Array.from({ length: tile.adapters }, () => packed.targets).flat();
      const { nll } = await this.head(hidden, targets, false);
      addUp(nll, rows, tile, losses);
    });
    return losses;
  }

  async logits(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float32Array> {
    const { vocabularySize } = this.model;
    const { size } = this.model.architecture.embedding;
    const logits = new Float32Array(adapters * rows.length * vocabularySize);
    const head = await this.headFor('logits');
    await this.eachTile(rows, adapters, scratch, async (hidden, _packed, tile) => {
      let label = 0;
      for (let g = 0; g < tile.adapters; g++)
        for (const row of tile.rows) {
          const view = hidden.subarray(label * size, (label + 1) * size);
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
    directions: Float32Array,
    losses?: Float64Array,
  ): Promise<Float64Array> {
    assert(this.tangents && this.adapter !== undefined, 'a forward pass made with tangents');
    const { layout } = this.adapter;
    const count = directions.length / layout.elements;
    const slopes = new Float64Array(count * rows.length);
    const plan = this.planDirections(rows, count);
    for (const tileRows of plan.rows) {
      const packed = packRows(
        tileRows.map((row) => rows[row]!),
        this.model.architecture,
      );
      for (let first = 0; first < count; first += plan.adapters) {
        const taken = Math.min(plan.adapters, count - first);
        const output = await this.trunk.run({
          ...packed.feeds,
          differentiate: bool(true),
          ...this.adapterFeeds(theta, 1, 0, 1),
          ...trainedFeeds(layout, tangentInput, directions, { copies: count, first, count: taken }),
        });
        const { nll, slope } = await this.head(output.hidden!.data as Float32Array, packed.targets, true);
        const products = rowProducts(output.tangents!.data as Float32Array, slope, packed.targets.length * taken);
        addUp(products, rows, { rows: tileRows, firstAdapter: first, adapters: taken }, slopes);
        if (losses) addUp(nll, rows, { rows: tileRows, firstAdapter: 0, adapters: 1 }, losses);
      }
    }
    return slopes;
  }

  plan(rows: readonly TokenRow[], adapters: number): TilePlan {
    return planTiles(this.model.architecture, rows, adapters, this.maxActivationElements);
  }

  planDirections(rows: readonly TokenRow[], directions: number): TilePlan {
    const limit = this.maxActivationElements ?? directionsLimit(this.model.architecture);
    return planTiles(this.model.architecture, rows, directions, limit);
  }

  /** Runs the trunk tile by tile; `use` gets the hidden states `[G, L, size]` of each. */
  private async eachTile(
    rows: readonly TokenRow[],
    adapters: number,
    scratch: Float32Array | undefined,
    use: (hidden: Float32Array, packed: PackedRows, tile: Tile) => Promise<void>,
  ): Promise<void> {
    const elements = this.adapter?.layout.elements ?? 0;
    assert.equal(scratch?.length ?? 0, adapters * elements, 'scratch holds G adapters of d elements');
    assert(
      (this.adapter !== undefined && !this.tangents) || adapters === 1,
      'one adapter, without a layout or with tangents',
    );
    const plan = this.plan(rows, adapters);
    for (const tileRows of plan.rows) {
      const packed = packRows(
        tileRows.map((row) => rows[row]!),
        this.model.architecture,
      );
      for (let first = 0; first < adapters; first += plan.adapters) {
        const tile = { rows: tileRows, firstAdapter: first, adapters: Math.min(plan.adapters, adapters - first) };
        const output = await this.trunk.run({
          ...packed.feeds,
          ...this.adapterFeeds(scratch, adapters, tile.firstAdapter, tile.adapters),
          ...(this.tangents && { differentiate: bool(false), ...this.noTangents() }),
        });
        await use(output.hidden!.data as Float32Array, packed, tile);
      }
    }
  }

  private noTangents(): Record<string, Tensor> {
    return trainedFeeds(this.adapter!.layout, tangentInput, new Float32Array(), { copies: 0, first: 0, count: 0 });
  }

  private adapterFeeds(scratch: Float32Array | undefined, copies: number, first: number, count: number) {
    if (this.adapter === undefined || scratch === undefined) return {};
    const trained = trainedFeeds(this.adapter.layout, adapterInput, scratch, { copies, first, count });
    return { ...trained, ...frozenFeeds(this.adapter) };
  }

  /** `hidden` `[M, size]` to nll `[M]`, and slope `[M, size]` if wanted, in pieces that bound the memory of the logits. */
  private async head(
    hidden: Float32Array,
    targets: readonly number[],
    slopes: boolean,
  ): Promise<{ nll: Float32Array; slope: Float32Array }> {
    const { size } = this.model.architecture.embedding;
    const head = await this.headFor(this.tangents ? 'slope' : 'nll');
    const piece = Math.max(1, Math.floor(MAX_LOGITS_ELEMENTS / this.model.vocabularySize));
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

const bool = (value: boolean): Tensor => new Tensor('bool', [value], [1]);

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
