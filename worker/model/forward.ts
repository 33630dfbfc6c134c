/** The forward pass: losses of rows under many adapters at once. Two sessions, the trunk and the head, and the tiling of both. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { type AdapterLayout, scratchOffset } from '../../kernels/adapter-layout.ts';
import type { TokenRow } from '../data/token-row.ts';
import type { BaseModel } from './base-model.ts';
import { headGraph } from './graph/head.ts';
import { adapterInput, trunkGraph } from './graph/trunk.ts';
import { int8Weights } from './int8-weights.ts';
import { int64, type PackedRows, packRows } from './packing.ts';
import { type Provider, resolveProvider } from './provider.ts';
import { explainLoss } from './self-check.ts';
import { createSession, type SessionOptions } from './session.ts';
import { planTiles, type TilePlan } from './tiles.ts';

export interface ForwardOptions {
  readonly provider: Provider | 'auto';
  /** Threads of the CPU provider. */
  readonly threads: number;
  readonly quantize: 'none' | 'int8';
  /** Float32 elements of activations at once, by estimate; see tiles.ts for the default. */
  readonly maxActivationElements?: number;
}

export interface ForwardAdapter {
  readonly layout: AdapterLayout;
  /** Where the layout trains B alone: A `[rank, fanIn]` of every module, one after another, the same for all G. */
  readonly frozenA?: Float32Array;
}

export interface Forward {
  /**
   * Summed negative log-likelihood of each row's completion under each of G adapters, in nats: `[G · rows]`, adapter by
   * adapter. `scratch` `[G · d]` is tensor-major (`scratchOffset`); it is read where it lies and not kept. Without a layout
   * G is 1 and there is no scratch. Blocks the calling thread.
   */
  losses(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float64Array>;
  /**
   * How many adapters one run takes for these rows, at most `adapters`. A caller that perturbs and measures no more at once
   * gets the same losses as fast, with a scratch buffer of that many adapters.
   */
  adaptersPerRun(rows: readonly TokenRow[], adapters: number): number;
  /** Logits `[G · rows, V]` at the position that predicts each row's first completion token. */
  logits(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Float32 elements of logits that exist at once: 32 MiB. */
const MAX_LOGITS_ELEMENTS = 2 ** 23;

/**
 * Loads the model, and runs two tokens through it once.
 * @throws OperatingError (usage) that names the tensor that is not finite, or the provider that is not there
 */
export async function createForward(
  model: BaseModel,
  adapter: ForwardAdapter | undefined,
  options: ForwardOptions,
): Promise<Forward> {
  checkAdapter(model, adapter);
  const elements = adapter?.layout.elements ?? 0;
  const session: SessionOptions = { provider: await resolveProvider(options.provider), threads: options.threads };
  const int8 = options.quantize === 'int8' ? int8Weights(model) : undefined;
  const heads = new Map<'nll' | 'logits', InferenceSession>();
  const headFor = async (output: 'nll' | 'logits'): Promise<InferenceSession> => {
    const head = heads.get(output) ?? (await createSession(headGraph(model, output, int8), session, false));
    heads.set(output, head);
    return head;
  };
  // The head first: reading its table takes more memory for a moment than all else.
  await headFor('nll');
  const trunk = await createSession(trunkGraph(model, adapter?.layout, int8), session, true);
  const pass = new ForwardPass(model, adapter, trunk, headFor, options.maxActivationElements);
  const close = async (): Promise<void> => {
    for (const session of [trunk, ...heads.values()]) await session.release();
  };
  const [loss] = await pass.losses([{ ids: [0, 0], firstCompletion: 1 }], 1, new Float32Array(elements));
  if (!Number.isFinite(loss)) {
    await close();
    throw explainLoss(model, loss!);
  }
  return {
    losses: (rows, adapters, scratch) => pass.losses(rows, adapters, scratch),
    adaptersPerRun: (rows, adapters) => pass.plan(rows, adapters).adapters,
    logits: (rows, adapters, scratch) => pass.logits(rows, adapters, scratch),
    close,
  };
}

function checkAdapter(model: BaseModel, adapter: ForwardAdapter | undefined): void {
  if (adapter === undefined) return;
  const linears = new Map(model.linearModules.map((module) => [module.name, module]));
  let frozen = 0;
  for (const { name, rank, fanIn, fanOut } of adapter.layout.modules) {
    const linear = linears.get(name);
    assert(linear?.fanIn === fanIn && linear.fanOut === fanOut, `${name} is a layer of the model, of that shape`);
    frozen += rank * fanIn;
  }
  if (adapter.layout.train === 'B') assert.equal(adapter.frozenA?.length, frozen, 'A of every module');
}

class ForwardPass {
  private readonly model: BaseModel;
  private readonly adapter: ForwardAdapter | undefined;
  private readonly trunk: InferenceSession;
  private readonly headFor: (output: 'nll' | 'logits') => Promise<InferenceSession>;
  private readonly maxActivationElements: number | undefined;

  constructor(
    model: BaseModel,
    adapter: ForwardAdapter | undefined,
    trunk: InferenceSession,
    headFor: (output: 'nll' | 'logits') => Promise<InferenceSession>,
    maxActivationElements: number | undefined,
  ) {
    this.model = model;
    this.adapter = adapter;
    this.trunk = trunk;
    this.headFor = headFor;
    this.maxActivationElements = maxActivationElements;
  }

  async losses(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float64Array> {
    const losses = new Float64Array(adapters * rows.length);
    await this.eachTile(rows, adapters, scratch, async (hidden, packed, tile) => {
      const nll = await this.nll(hidden, packed.targets, tile.adapters);
      let at = 0;
      for (let g = 0; g < tile.adapters; g++)
        for (const row of tile.rows) {
          const labels = rows[row]!.ids.length - rows[row]!.firstCompletion;
          let sum = 0;
          for (let label = 0; label < labels; label++) sum += nll[at++]!;
          losses[(tile.firstAdapter + g) * rows.length + row] = sum;
        }
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
          label += rows[row]!.ids.length - rows[row]!.firstCompletion;
        }
    });
    return logits;
  }

  plan(rows: readonly TokenRow[], adapters: number): TilePlan {
    const lengths = rows.map(({ ids }) => ids.length);
    return planTiles(this.model.architecture, lengths, adapters, this.maxActivationElements);
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
    assert(this.adapter !== undefined || adapters === 1, 'without a layout there is one adapter: none');
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
          group: int64(new Array(tile.adapters).fill(0), [tile.adapters]),
          ...this.adapterFeeds(adapters, tile, scratch),
        });
        await use(output.hidden!.data as Float32Array, packed, tile);
      }
    }
  }

  /** Views of `scratch`, not copies. */
  private adapterFeeds(adapters: number, tile: Tile, scratch: Float32Array | undefined): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {};
    if (this.adapter === undefined || scratch === undefined) return feeds;
    const { layout, frozenA } = this.adapter;
    for (const tensor of layout.tensors) {
      const from = scratchOffset(tensor, adapters, tile.firstAdapter);
      const view = scratch.subarray(from, from + tile.adapters * tensor.elements);
      feeds[adapterInput(tensor.matrix, tensor.module)] = new Tensor('float32', view, [tile.adapters, ...tensor.shape]);
    }
    if (frozenA !== undefined && layout.train === 'B') {
      let at = 0;
      layout.modules.forEach(({ rank, fanIn }, module) => {
        const view = frozenA.subarray(at, at + rank * fanIn);
        at += rank * fanIn;
        feeds[adapterInput('A', module)] = new Tensor('float32', view, [1, rank, fanIn]);
      });
    }
    return feeds;
  }

  /** `hidden` `[G, L, size]` to nll `[G · L]`, in pieces that bound the memory of the logits. */
  private async nll(hidden: Float32Array, targets: readonly number[], adapters: number): Promise<Float32Array> {
    const { size } = this.model.architecture.embedding;
    const head = await this.headFor('nll');
    const all = Array.from({ length: adapters }, () => targets).flat();
    const piece = Math.max(1, Math.floor(MAX_LOGITS_ELEMENTS / this.model.vocabularySize));
    const nll = new Float32Array(all.length);
    for (let from = 0; from < all.length; from += piece) {
      const part = all.slice(from, from + piece);
      const view = hidden.subarray(from * size, (from + part.length) * size);
      const output = await head.run({
        hidden: new Tensor('float32', view, [part.length, size]),
        targets: int64(part, [part.length, 1]),
      });
      nll.set(output.nll!.data as Float32Array, from);
    }
    return nll;
  }
}

/** What one run of the trunk holds. */
interface Tile {
  /** Indices of rows. */
  readonly rows: readonly number[];
  readonly firstAdapter: number;
  readonly adapters: number;
}
