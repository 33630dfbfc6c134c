/** Reverse mode: losses, and the gradient of their mean by the adapter, in one session. */
import assert from 'node:assert/strict';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import { gradientGraph } from '../graph/gradient.ts';
import type { TokenRow } from '../token-row.ts';
import { type ForwardAdapter, frozenFeeds } from './adapter-feeds.ts';
import { ActivationRoom } from './device-memory.ts';
import { addUp } from './label-sums.ts';
import { bool, int64, noTransposes, type PackedRows, packRows } from './packing.ts';
import { createSession, type SessionOptions } from './session.ts';
import { thetaFeed } from './signed-feeds.ts';
import { activationLimit, keepsRows, keptLimit, planGradient, planLosses } from './tiles.ts';

/** As in ForwardOptions. */
interface Limits {
  readonly longestRow?: number;
  readonly maxActivationElements?: number | undefined;
}

interface Plan {
  /** Whether the graph can make activations again. */
  readonly remakes: boolean;
  readonly room: ActivationRoom;
}

/** What one run of the graph does. */
interface Way {
  readonly differentiate?: boolean;
  readonly remake?: boolean;
}

/** Puts what the labels of the tile's rows lose, `nll` `[L, 1]`, into `losses` `[rows]`. */
const addLosses = (nll: Tensor, rows: readonly TokenRow[], tile: readonly number[], losses: Float64Array): void =>
  addUp(nll.data as Float32Array, rows, { rows: tile, firstAdapter: 0, adapters: 1 }, losses);

export class GradientPass {
  private readonly model: BaseModel;
  private readonly adapter: ForwardAdapter;
  private readonly session: InferenceSession;
  private readonly plan: Plan;

  private constructor(model: BaseModel, adapter: ForwardAdapter, session: InferenceSession, plan: Plan) {
    this.model = model;
    this.adapter = adapter;
    this.session = session;
    this.plan = plan;
  }

  static async create(
    model: BaseModel,
    adapter: ForwardAdapter,
    options: SessionOptions,
    { longestRow = model.maxPositions, maxActivationElements }: Limits,
  ): Promise<GradientPass> {
    const remakes = !keepsRows(model.architecture, longestRow, maxActivationElements);
    const graph = gradientGraph(model, adapter.layout, remakes);
    const session = await createSession(graph, options, { arena: true, shared: true });
    return new GradientPass(model, adapter, session, { remakes, room: new ActivationRoom(maxActivationElements) });
  }

  close(): Promise<void> {
    return this.session.release();
  }

  /** Losses `[rows]` under θ. */
  losses(rows: readonly TokenRow[], theta: Float32Array): Promise<Float64Array> {
    const usual = activationLimit(this.model.architecture);
    return this.plan.room.fitting(usual, () => this.lossesOf(rows, theta));
  }

  private async lossesOf(rows: readonly TokenRow[], theta: Float32Array): Promise<Float64Array> {
    const losses = new Float64Array(rows.length);
    for (const tile of planLosses(this.model.architecture, rows, this.plan.room.limit)) {
      const { nll } = await this.run(this.pack(rows, tile), theta, {});
      addLosses(nll!, rows, tile, losses);
    }
    return losses;
  }

  /** ∇ of the rows' mean loss at θ `[d]`, float32 `[d]` in θ's order. Rows that do not fit together add up. `losses` `[rows]` is filled. */
  gradient(rows: readonly TokenRow[], theta: Float32Array, losses?: Float64Array): Promise<Float32Array> {
    const usual = keptLimit(this.model.architecture);
    return this.plan.room.fitting(usual, () => this.gradientOf(rows, theta, losses));
  }

  private async gradientOf(
    rows: readonly TokenRow[],
    theta: Float32Array,
    losses: Float64Array | undefined,
  ): Promise<Float32Array> {
    const { layout } = this.adapter;
    const gradient = new Float32Array(layout.elements);
    for (const tile of planGradient(this.model.architecture, rows, this.plan.room.limit)) {
      const outputs = await this.run(this.pack(rows, tile.rows), theta, { differentiate: true, remake: tile.remake });
      if (losses) addLosses(outputs.nll!, rows, tile.rows, losses);
      const part = outputs.gradient!.data as Float32Array;
      for (let i = 0; i < part.length; i++) gradient[i]! += part[i]! / rows.length;
    }
    return gradient;
  }

  private pack(rows: readonly TokenRow[], tile: readonly number[]): PackedRows {
    return packRows(
      tile.map((row) => rows[row]!),
      this.model.architecture,
    );
  }

  private run({ feeds, targets, transposes }: PackedRows, theta: Float32Array, way: Way) {
    const { layout } = this.adapter;
    const { differentiate = false, remake = false } = way;
    assert.equal(theta.length, layout.elements, 'an adapter of d elements');
    return this.session.run({
      ...feeds,
      ...(differentiate ? transposes() : noTransposes()),
      targets: int64(targets, [targets.length, 1]),
      differentiate: bool(differentiate),
      ...(this.plan.remakes && { remake: bool(remake) }),
      ...thetaFeed(layout, theta),
      ...frozenFeeds(this.adapter),
    });
  }
}
