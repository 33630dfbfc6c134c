/** The forward pass: losses of rows under many adapters at once. Two sessions, the trunk and the head, and the tiling of both. */
import assert from 'node:assert/strict';
import type { InferenceSession } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import { type HeadOutput, headGraph } from '../graph/head.ts';
import type { TangentPrecision } from '../graph/model-graph.ts';
import { isHalf, type Precision } from '../graph/precision.ts';
import { trunkGraph } from '../graph/trunk.ts';
import { int8Weights } from '../int8-weights.ts';
import type { TokenRow } from '../token-row.ts';
import { type ForwardAdapter, signedAdapters } from './adapter-feeds.ts';
import type { ChosenProvider } from './choose-provider.ts';
import { activationsOf } from './device-memory.ts';
import { ForwardPass } from './forward-pass.ts';
import { checkInt8, sessionFor } from './forward-session.ts';
import { GradientPass } from './gradient-pass.ts';
import type { Provider } from './provider.ts';
import { explainLoss } from './self-check.ts';
import { createSession, type SessionOptions } from './session.ts';
import type { Move, SignedDirections } from './signed-feeds.ts';

export interface ForwardOptions {
  readonly provider: Provider | 'auto';
  /** Threads of the CPU provider. */
  readonly threads: number;
  readonly quantize: 'none' | 'int8';
  /** What linear layers multiply in; not together with 8 bits. Default: float16 on cuda, bfloat16 there with gradients, else float32. */
  readonly precision?: Precision | undefined;
  /** Which GPU provider cuda takes. Default: 0. */
  readonly device?: number | undefined;
  /** Precision of tangents; undefined where no slopes are wanted. */
  readonly tangents?: TangentPrecision | undefined;
  /** Whether gradients are wanted; not together with tangents or `quantize`. */
  readonly gradients?: boolean | undefined;
  /** Length of the finite steps along which losses are compared; undefined: none are. A short one drowns in half precision. */
  readonly step?: number | undefined;
  /** Tokens of the longest row of which a gradient is wanted. Default: what the model reaches. */
  readonly longestRow?: number;
  /** Float32 elements of activations at once, by estimate; see tiles.ts for the default. */
  readonly maxActivationElements?: number;
  /** Whether the graph makes perturbed adapters and directions of sign bits. Default: on provider cuda, and where that is emulated. */
  readonly signed?: boolean;
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
  /** Whether perturbed adapters and directions are given as sign bits: then `losses` and `logits` take θ alone. */
  readonly signed: boolean;
  /** As `losses`, under θ + step·z for each of `moves` along `z`: `[moves · rows]`. For a forward pass that is signed. */
  lossesAround(
    rows: readonly TokenRow[],
    theta: Float32Array,
    z: SignedDirections,
    moves: readonly Move[],
  ): Promise<Float64Array>;
  /**
   * Directional derivatives of each row's loss at θ `[d]`, `[K · rows]`, direction by direction: exact but for rounding, by
   * forward-mode differentiation. `directions` are sign bits, or `[K · d]`, tensor-major like `scratch`. `losses` `[rows]`, if given, is filled with
   * the losses at θ, which come along. For a forward pass made with `tangents`.
   */
  slopes(
    rows: readonly TokenRow[],
    theta: Float32Array,
    directions: Float32Array | SignedDirections,
    losses?: Float64Array,
  ): Promise<Float64Array>;
  /**
   * ∇ of the mean over the rows of their losses at θ `[d]`: float32 `[d]`, in θ's order, by reverse-mode differentiation. `losses`
   * as for `slopes`. For a forward pass made with `gradients`.
   */
  gradient(rows: readonly TokenRow[], theta: Float32Array, losses?: Float64Array): Promise<Float32Array>;
  /** How many directions one run takes for these rows, at most `directions`, as `adaptersPerRun`. */
  directionsPerRun(rows: readonly TokenRow[], directions: number): number;
  /**
   * How many adapters one run takes for these rows, at most `adapters`. A caller that perturbs and measures no more at once
   * gets the same losses as fast, with a scratch buffer of that many adapters.
   */
  adaptersPerRun(rows: readonly TokenRow[], adapters: number): number;
  /** Logits `[G · rows, V]` at the position that predicts each row's first label. */
  logits(rows: readonly TokenRow[], adapters: number, scratch?: Float32Array): Promise<Float32Array>;
  close(): Promise<void>;
}

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
  const signed = adapter !== undefined && (options.signed ?? (session.provider === 'cuda' || isHalf(chosen.precision)));
  const trunk = await createSession(trunkGraph(model, adapter?.layout, { int8, tangents, signed }), session, kind);
  const pass = new ForwardPass(model, adapter, trunk, headFor, {
    tangents: tangents !== undefined,
    signed,
    maxActivationElements: options.maxActivationElements ?? activationsOf(chosen),
  });
  return checked(model, elements, {
    chosen,
    signed,
    losses: (rows, adapters, scratch) => pass.fitting(() => pass.losses(rows, pass.adapters(adapters, scratch))),
    lossesAround(rows, theta, z, moves) {
      assert(signed && adapter !== undefined, 'adapters that are made of sign bits');
      return pass.fitting(() => pass.losses(rows, signedAdapters(adapter.layout, theta, z, moves)));
    },
    slopes: (rows, theta, directions, losses) => pass.fitting(() => pass.slopes(rows, theta, directions, losses)),
    gradient: () => assert.fail('a forward pass made with gradients'),
    adaptersPerRun: (rows, adapters) => pass.plan(rows, adapters).adapters,
    directionsPerRun: (rows, directions) => pass.planDirections(rows, directions).adapters,
    logits: (rows, adapters, scratch) => pass.logits(rows, pass.adapters(adapters, scratch)),
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
  const { maxActivationElements = activationsOf(chosen) } = options;
  const pass = await GradientPass.create(model, adapter, session, { ...options, maxActivationElements });
  const otherPass = (): never => assert.fail('a forward pass made without gradients');
  return {
    chosen,
    signed: false,
    lossesAround: otherPass,
    losses(rows, adapters, theta) {
      assert.equal(adapters, 1, 'one adapter, with gradients');
      return pass.losses(rows, theta!);
    },
    gradient: (rows, theta, losses) => pass.gradient(rows, theta, losses),
    adaptersPerRun: () => 1,
    directionsPerRun: otherPass,
    slopes: otherPass,
    logits: otherPass,
    close: () => pass.close(),
  };
}

/** `forward`, once two tokens have passed it. */
async function checked(model: BaseModel, elements: number, forward: Forward): Promise<Forward> {
  const [loss] = await forward.losses([{ ids: [0, 0], labels: [1] }], 1, new Float32Array(elements));
  if (Number.isFinite(loss)) return forward;
  await forward.close();
  throw explainLoss(model, loss!, forward.chosen.precision);
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
