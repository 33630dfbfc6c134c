/** The forward pass: losses of rows under many adapters at once. Two sessions, the trunk and the head, and the tiling of both. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { type AdapterLayout, scratchOffset } from '../../kernels/adapter-layout.ts';
import { turnOffTf32 } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { BaseModel } from '../base-model.ts';
import { type HeadOutput, headGraph } from '../graph/head.ts';
import type { TangentPrecision } from '../graph/model-graph.ts';
import type { Precision } from '../graph/precision.ts';
import { adapterInput, tangentInput, trunkGraph } from '../graph/trunk.ts';
import { int8Weights } from '../int8-weights.ts';
import { int64, type PackedRows, packRows } from '../packing.ts';
import { activationLimit, directionsLimit, planTiles, type TilePlan } from '../tiles.ts';
import type { TokenRow } from '../token-row.ts';
import { type ChosenProvider, chooseProvider } from './choose-provider.ts';
import { withinMemory } from './device-memory.ts';
import { hasExactInt8 } from './int8-support.ts';
import type { Provider } from './provider.ts';
import { explainLoss } from './self-check.ts';
import { createSession, type SessionOptions } from './session.ts';
import { checkFloat32 } from './tf32.ts';

export interface ForwardOptions {
  readonly provider: Provider | 'auto';
  /** Threads of the CPU provider. */
  readonly threads: number;
  readonly quantize: 'none' | 'int8';
  /** Of products with base weights; not together with 8 bits. Default: float32. */
  readonly precision?: Precision | undefined;
  /** Of provider cuda: which GPU. Default: 0. */
  readonly device?: number | undefined;
  /** Precision of tangents; undefined where no slopes are wanted. */
  readonly tangents?: TangentPrecision | undefined;
  /** Float32 elements of activations at once, by estimate; see tiles.ts for the default. */
  readonly maxActivationElements?: number;
  /** Where ONNX Runtime leaves its profiles (profile.ts); undefined: none. */
  readonly profileDirectory?: string;
}

export interface ForwardAdapter {
  readonly layout: AdapterLayout;
  /** Where the layout trains B alone: A `[rank, fanIn]` of every module, one after another, the same for all G. */
  readonly frozenA?: Float32Array | undefined;
}

export interface Forward {
  readonly chosen: ChosenProvider;
  /**
   * Summed negative log-likelihood of each row's completion under each of G adapters, in nats: `[G · rows]`, adapter by
   * adapter. `scratch` `[G · d]` is tensor-major (`scratchOffset`); it is read where it lies and not kept. Without a layout
   * G is 1 and there is no scratch. Blocks the calling thread.
   */
  losses(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float64Array>;
  /**
   * Directional derivatives of each row's loss at θ `[d]`, `[K · rows]`, direction by direction: exact but for rounding, by
   * forward-mode differentiation. `directions` `[K · d]` is tensor-major like `scratch`. For a forward pass made with `tangents`.
   */
  slopes(rows: readonly TokenRow[], theta: Float32Array, directions: Float32Array): Promise<Float64Array>;
  /** How many directions one run takes for these rows, at most `directions`, as `adaptersPerRun`. */
  directionsPerRun(rows: readonly TokenRow[], directions: number): number;
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
/** Float32 elements of activations below which a pass is cut no further: 64 KiB, one short row of any model. */
const SMALLEST_ACTIVATIONS = 2 ** 14;

/**
 * Loads the model, and runs two tokens through it once.
 * @throws OperatingError (usage) that names the tensor that is not finite, the provider that is not there, or why tangents in
 * int8 are not possible
 */
export async function createForward(
  model: BaseModel,
  adapter: ForwardAdapter | undefined,
  options: ForwardOptions,
): Promise<Forward> {
  checkAdapter(model, adapter);
  const elements = adapter?.layout.elements ?? 0;
  const { tangents } = options;
  const { chosen, session } = await sessionFor(model, options);
  if (tangents === 'int8') await checkInt8(session.provider);
  const int8 = options.quantize === 'int8' ? int8Weights(model) : undefined;
  const heads = new Map<HeadOutput, InferenceSession>();
  const headFor = async (output: HeadOutput): Promise<InferenceSession> => {
    const kind = { arena: false, shared: output === 'slope' };
    const head = heads.get(output) ?? (await createSession(headGraph(model, output, int8), session, kind));
    heads.set(output, head);
    return head;
  };
  // The head first: reading its table takes more memory for a moment than all else.
  await headFor(tangents === undefined ? 'nll' : 'slope');
  const kind = { arena: true, shared: tangents === 'float32' };
  const trunk = await createSession(trunkGraph(model, adapter?.layout, { int8, tangents }), session, kind);
  const pass = new ForwardPass(model, adapter, trunk, headFor, tangents !== undefined, options.maxActivationElements);
  const close = async (): Promise<void> => {
    for (const session of [trunk, ...heads.values()]) await session.release();
  };
  const [loss] = await pass.losses([{ ids: [0, 0], firstCompletion: 1 }], 1, new Float32Array(elements));
  if (!Number.isFinite(loss)) {
    await close();
    throw explainLoss(model, loss!);
  }
  return {
    chosen,
    losses: (rows, adapters, scratch) => pass.fitting(() => pass.losses(rows, adapters, scratch)),
    slopes: (rows, theta, directions) => pass.fitting(() => pass.slopes(rows, theta, directions)),
    adaptersPerRun: (rows, adapters) => pass.plan(rows, adapters).adapters,
    directionsPerRun: (rows, directions) => pass.planDirections(rows, directions).adapters,
    logits: (rows, adapters, scratch) => pass.logits(rows, adapters, scratch),
    close,
  };
}

/** The provider, and what its sessions have in common. */
async function sessionFor(model: BaseModel, { precision = 'float32', threads, device, ...options }: ForwardOptions) {
  if (precision !== 'float32' && (options.quantize === 'int8' || options.tangents === 'int8'))
    throw usageError(`worker.precision ${precision}: products in 8 bits have no other; set worker.precision: float32`);
  if (precision !== 'tf32') turnOffTf32();
  const rounding = { precision, head: model.weights.get(model.architecture.head.name)!.name };
  const chosen = await chooseProvider(options.provider, model, { threads, device, rounding });
  const session: SessionOptions = { provider: chosen.provider, threads, device, rounding };
  if (chosen.provider !== 'cpu') await checkFloat32(precision, session);
  return { chosen, session: { ...session, profileDirectory: options.profileDirectory } };
}

async function checkInt8(provider: Provider): Promise<void> {
  const advice = 'set worker.tangentPrecision: float32';
  if (provider !== 'cpu')
    throw usageError(
      `worker.tangentPrecision int8: the provider is ${provider}, expected cpu; set worker.provider: cpu, or ${advice}`,
    );
  if (!(await hasExactInt8()))
    throw usageError(`worker.tangentPrecision int8: 8-bit sums saturate on this CPU (x86 without VNNI); ${advice}`);
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
          label += rows[row]!.ids.length - rows[row]!.firstCompletion;
        }
    });
    return logits;
  }

  async slopes(rows: readonly TokenRow[], theta: Float32Array, directions: Float32Array): Promise<Float64Array> {
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
          ...this.adapterFeeds(adapterInput, theta, 1, 0, 1),
          ...this.adapterFeeds(tangentInput, directions, count, first, taken),
        });
        const { slope } = await this.head(output.hidden!.data as Float32Array, packed.targets, true);
        const products = rowProducts(output.tangents!.data as Float32Array, slope, packed.targets.length * taken);
        addUp(products, rows, { rows: tileRows, firstAdapter: first, adapters: taken }, slopes);
      }
    }
    return slopes;
  }

  plan(rows: readonly TokenRow[], adapters: number): TilePlan {
    const lengths = rows.map(({ ids }) => ids.length);
    return planTiles(this.model.architecture, lengths, adapters, this.maxActivationElements);
  }

  planDirections(rows: readonly TokenRow[], directions: number): TilePlan {
    const lengths = rows.map(({ ids }) => ids.length);
    const limit = this.maxActivationElements ?? directionsLimit(this.model.architecture);
    return planTiles(this.model.architecture, lengths, directions, limit);
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
          ...this.adapterFeeds(adapterInput, scratch, adapters, tile.firstAdapter, tile.adapters),
          ...(this.tangents && {
            differentiate: bool(false),
            ...this.adapterFeeds(tangentInput, new Float32Array(), 0, 0, 0),
          }),
        });
        await use(output.hidden!.data as Float32Array, packed, tile);
      }
    }
  }

  /** Inputs of `count` adapters from `first` on, of the `copies` in `scratch`: views, not copies. */
  private adapterFeeds(
    inputOf: typeof adapterInput,
    scratch: Float32Array | undefined,
    copies: number,
    first: number,
    count: number,
  ): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {};
    if (this.adapter === undefined || scratch === undefined) return feeds;
    const { layout, frozenA } = this.adapter;
    for (const tensor of layout.tensors) {
      const from = scratchOffset(tensor, copies, first);
      const view = scratch.subarray(from, from + count * tensor.elements);
      feeds[inputOf(tensor.matrix, tensor.module)] = new Tensor('float32', view, [count, ...tensor.shape]);
    }
    if (frozenA !== undefined && layout.train === 'B' && inputOf === adapterInput) {
      let at = 0;
      layout.modules.forEach(({ rank, fanIn }, module) => {
        const view = frozenA.subarray(at, at + rank * fanIn);
        at += rank * fanIn;
        feeds[adapterInput('A', module)] = new Tensor('float32', view, [1, rank, fanIn]);
      });
    }
    return feeds;
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

/** Adds the values at label positions, adapter by adapter and row by row of the tile, up to one of `sums` `[adapters · rows]` for each row. */
function addUp(values: ArrayLike<number>, rows: readonly TokenRow[], tile: Tile, sums: Float64Array): void {
  let at = 0;
  for (let g = 0; g < tile.adapters; g++)
    for (const row of tile.rows) {
      const { ids, firstCompletion } = rows[row]!;
      let sum = 0;
      for (let label = firstCompletion; label < ids.length; label++) sum += values[at++]!;
      sums[(tile.firstAdapter + g) * rows.length + row] = sum;
    }
}

/** What one run of the trunk holds. */
interface Tile {
  /** Indices of rows. */
  readonly rows: readonly number[];
  /** Of adapters, or of directions. */
  readonly firstAdapter: number;
  readonly adapters: number;
}
