/** The forward pass: losses of rows under many adapters at once. Two sessions, the trunk and the head, and the tiling of both. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
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
import { type ForwardAdapter, frozenFeeds, trainedFeeds } from './adapter-feeds.ts';
import { type ChosenProvider, chooseProvider } from './choose-provider.ts';
import { withinMemory } from './device-memory.ts';
import { GradientPass } from './gradient-pass.ts';
import { hasExactInt8 } from './int8-support.ts';
import { addUp, type Tile } from './label-sums.ts';
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
  /** Whether gradients are wanted; not together with tangents or `quantize`. */
  readonly gradients?: boolean | undefined;
  /** Tokens of the longest row of which a gradient is wanted. Default: what the model reaches. */
  readonly longestRow?: number;
  /** Float32 elements of activations at once, by estimate; see tiles.ts for the default. */
  readonly maxActivationElements?: number;
  /** Where ONNX Runtime leaves its profiles (profile.ts); undefined: none. */
  readonly profileDirectory?: string;
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
  /**
   * ∇ of the mean over the rows of their losses at θ `[d]`: float32 `[d]`, in θ's order, by reverse-mode differentiation. For a
   * forward pass made with `gradients`.
   */
  gradient(rows: readonly TokenRow[], theta: Float32Array): Promise<Float32Array>;
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
  if (options.gradients) return checked(model, elements, await reversible(model, adapter, chosen, session, options));
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
  return checked(model, elements, {
    chosen,
    losses: (rows, adapters, scratch) => pass.fitting(() => pass.losses(rows, adapters, scratch)),
    slopes: (rows, theta, directions) => pass.fitting(() => pass.slopes(rows, theta, directions)),
    gradient: () => assert.fail('a forward pass made with gradients'),
    adaptersPerRun: (rows, adapters) => pass.plan(rows, adapters).adapters,
    directionsPerRun: (rows, directions) => pass.planDirections(rows, directions).adapters,
    logits: (rows, adapters, scratch) => pass.logits(rows, adapters, scratch),
    close: async () => {
      for (const session of [trunk, ...heads.values()]) await session.release();
    },
  });
}

/** A forward pass of one adapter that can be gone back through. To ask it for what the others give is a mistake. */
async function reversible(
  model: BaseModel,
  adapter: ForwardAdapter | undefined,
  chosen: ChosenProvider,
  session: SessionOptions,
  options: ForwardOptions,
): Promise<Forward> {
  assert(adapter !== undefined, 'a gradient is by an adapter');
  const pass = await GradientPass.create(model, adapter, session, options);
  const otherPass = (): never => assert.fail('a forward pass made without gradients');
  return {
    chosen,
    losses(rows, adapters, theta) {
      assert.equal(adapters, 1, 'one adapter, with gradients');
      return pass.losses(rows, theta!);
    },
    gradient: (rows, theta) => pass.gradient(rows, theta),
    adaptersPerRun: () => 1,
    directionsPerRun: otherPass,
    slopes: otherPass,
    logits: otherPass,
    close: () => pass.close(),
  };
}

/** `forward`, once two tokens have passed it. */
async function checked(model: BaseModel, elements: number, forward: Forward): Promise<Forward> {
  const [loss] = await forward.losses([{ ids: [0, 0], firstCompletion: 1 }], 1, new Float32Array(elements));
  if (Number.isFinite(loss)) return forward;
  await forward.close();
  throw explainLoss(model, loss!);
}

/** The provider, and what its sessions have in common. */
export async function sessionFor(
  model: BaseModel,
  { precision = 'float32', threads, device, ...options }: ForwardOptions,
) {
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
          ...this.adapterFeeds(theta, 1, 0, 1),
          ...trainedFeeds(layout, tangentInput, directions, { copies: count, first, count: taken }),
        });
        const { slope } = await this.head(output.hidden!.data as Float32Array, packed.targets, true);
        const products = rowProducts(output.tangents!.data as Float32Array, slope, packed.targets.length * taken);
        addUp(products, rows, { rows: tileRows, firstAdapter: first, adapters: taken }, slopes);
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
