/** Reverse mode: losses, and the gradient of their mean by the adapter, in one session. */
import assert from 'node:assert/strict';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { BaseModel } from '../base-model.ts';
import { gradientGraph, gradientOutput } from '../graph/gradient.ts';
import { adapterInput } from '../graph/trunk.ts';
import { int64, noTransposes, type PackedRows, packRows } from '../packing.ts';
import { planGradient, planTiles } from '../tiles.ts';
import type { TokenRow } from '../token-row.ts';
import { type ForwardAdapter, frozenFeeds, trainedFeeds } from './adapter-feeds.ts';
import { addUp } from './label-sums.ts';
import { createSession, type SessionOptions } from './session.ts';

export class GradientPass {
  private readonly model: BaseModel;
  private readonly adapter: ForwardAdapter;
  private readonly session: InferenceSession;
  private readonly maxActivationElements: number | undefined;

  private constructor(
    model: BaseModel,
    adapter: ForwardAdapter,
    session: InferenceSession,
    maxActivationElements: number | undefined,
  ) {
    this.model = model;
    this.adapter = adapter;
    this.session = session;
    this.maxActivationElements = maxActivationElements;
  }

  /** `maxActivationElements`: as in ForwardOptions. */
  static async create(
    model: BaseModel,
    adapter: ForwardAdapter,
    options: SessionOptions,
    maxActivationElements: number | undefined,
  ): Promise<GradientPass> {
    const session = await createSession(gradientGraph(model, adapter.layout), options, { arena: true, shared: true });
    return new GradientPass(model, adapter, session, maxActivationElements);
  }

  close(): Promise<void> {
    return this.session.release();
  }

  /** Losses `[rows]` under θ. */
  async losses(rows: readonly TokenRow[], theta: Float32Array): Promise<Float64Array> {
    const { architecture } = this.model;
    const losses = new Float64Array(rows.length);
    const lengths = rows.map(({ ids }) => ids.length);
    for (const tile of planTiles(architecture, lengths, 1, this.maxActivationElements).rows) {
      const packed = this.pack(rows, tile);
      const { nll } = await this.run(packed, theta, false);
      addUp(nll!.data as Float32Array, rows, { rows: tile, firstAdapter: 0, adapters: 1 }, losses);
    }
    return losses;
  }

  /** ∇ of the rows' mean loss at θ `[d]`, float32 `[d]` in θ's order. Rows that do not fit together add up. */
  async gradient(rows: readonly TokenRow[], theta: Float32Array): Promise<Float32Array> {
    const { layout } = this.adapter;
    const gradient = new Float32Array(layout.elements);
    const lengths = rows.map(({ ids }) => ids.length);
    for (const tile of planGradient(this.model.architecture, lengths, this.maxActivationElements)) {
      const outputs = await this.run(this.pack(rows, tile), theta, true);
      for (const { matrix, module, offset } of layout.tensors) {
        const part = outputs[gradientOutput(matrix, module)]!.data as Float32Array;
        for (let i = 0; i < part.length; i++) gradient[offset + i]! += part[i]! / rows.length;
      }
    }
    return gradient;
  }

  private pack(rows: readonly TokenRow[], tile: readonly number[]): PackedRows {
    return packRows(
      tile.map((row) => rows[row]!),
      this.model.architecture,
    );
  }

  private run({ feeds, targets, transposes }: PackedRows, theta: Float32Array, differentiate: boolean) {
    const { layout } = this.adapter;
    assert.equal(theta.length, layout.elements, 'an adapter of d elements');
    return this.session.run({
      ...feeds,
      ...(differentiate ? transposes() : noTransposes()),
      targets: int64(targets, [targets.length, 1]),
      differentiate: new Tensor('bool', [differentiate], [1]),
      ...trainedFeeds(layout, adapterInput, theta, { copies: 1, first: 0, count: 1 }),
      ...frozenFeeds(this.adapter),
    });
  }
}
