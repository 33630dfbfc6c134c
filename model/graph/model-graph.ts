/** What every graph part needs: the builder, the model's weights, and the inputs that it shares with the other parts. */
import assert from 'node:assert/strict';
import type { Architecture, Linear } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import { BLOCK, type Int8Weights, int8Parts } from '../int8-weights.ts';
import { GraphBuilder, type Value } from './builder.ts';
import { type Dual, linearly, through } from './dual.ts';
import { int8Product } from './int8-product.ts';

/** The inputs of one adapted layer: A `[G, R, fanIn]`, B `[G, fanOut, R]` (or 1 in place of G, where all share it). */
export interface AdapterInputs {
  readonly a: Dual;
  readonly b: Dual;
  readonly rank: number;
  readonly scale: number;
}

/** Precision of the products of tangents with base weights. */
export type TangentPrecision = 'float32' | 'int8';

export interface GraphOptions {
  /** Base weights in 8 bits, in place of the model's own. */
  readonly int8?: Int8Weights | undefined;
  /** Undefined: a graph without directions. */
  readonly tangents?: TangentPrecision | undefined;
}

export class ModelGraph {
  readonly graph: GraphBuilder;
  readonly architecture: Architecture;
  /** By the layer's name. */
  readonly adapters = new Map<string, AdapterInputs>();
  private readonly model: BaseModel;
  private readonly int8: Int8Weights | undefined;
  private readonly tangents: TangentPrecision | undefined;

  constructor(model: BaseModel, { int8, tangents }: GraphOptions) {
    this.model = model;
    this.int8 = int8;
    this.tangents = tangents;
    this.architecture = model.architecture;
    const quantized = [...(int8?.values() ?? [])].map((weight) => weight.quantized);
    this.graph = new GraphBuilder([...model.weights.values(), ...quantized]);
  }

  /** A tensor of the description in float32. */
  weight(name: string): Value {
    return this.graph.once(name, () => this.graph.weight(this.weightTensor(name)));
  }

  weightTensor(name: string) {
    const tensor = this.model.weights.get(name);
    assert(tensor !== undefined, `the description requires ${name}`);
    return tensor;
  }

  /** x·Wᵀ: `x` `[…, fanIn]` to `[…, fanOut]`, with W from the quantized weights where there are some. */
  product(x: Dual, name: string, layer: Pick<Linear, 'fanIn' | 'fanOut' | 'stored'>): Dual {
    const exactly = (x: Value): Value => this.exactProduct(x, name, layer);
    if (this.tangents !== 'int8') return linearly(this.graph, x, exactly);
    const value = exactly(x.value);
    return {
      value,
      tangent: through(this.graph, [[x, (dx) => int8Product(this.graph, dx, this.weight(name), layer)]]),
    };
  }

  private exactProduct(
    x: Value,
    name: string,
    { fanIn, fanOut, stored }: Pick<Linear, 'fanIn' | 'fanOut' | 'stored'>,
  ): Value {
    const int8 = this.int8?.get(name);
    if (int8 === undefined)
      return this.graph.node('FusedMatMul', [x, this.weight(name)], { transB: stored === 'out-in' ? 1 : 0 });
    // accuracy_level 0: float32 activations and sums. Rounded activations would drown the difference of two close losses.
    const attributes = { K: fanIn, bits: 8, block_size: BLOCK, accuracy_level: 0 };
    const parts = int8Parts(int8, fanIn, fanOut).map(({ quantized, scales }) => {
      const weights = [this.graph.storedWeight(quantized), this.graph.storedWeight(scales)];
      return this.graph.node('MatMulNBits', [x, ...weights], { ...attributes, N: quantized.shape[0]! });
    });
    return parts.length === 1 ? parts[0]! : this.graph.node('Concat', parts, { axis: -1 });
  }

  /** Whether tangents are wanted, bool `[1]`. */
  differentiate(): Value {
    return this.graph.once('differentiate', () => this.graph.input('differentiate', 'bool', [1]));
  }

  /** Index of the packed token at each place, `[B, T]`. Places that no row has hold any token. */
  padding(): Value {
    return this.graph.once('padding', () => this.graph.input('padding', 'int64', ['B', 'T']));
  }

  /** Added to the scores, `[B, 1, 1, T, T]`: 0 where a query (row) may see a key (column), else the lowest float32. */
  mask(window: number | undefined): Value {
    return this.graph.once(maskName(window), () =>
      this.graph.input(maskName(window), 'float32', ['B', 1, 1, 'T', 'T']),
    );
  }

  /** cos and sin of each packed token, `[N, rotated / 2]`. */
  rope(index: number): { cos: Value; sin: Value } {
    const shape = ['N', this.architecture.ropes[index]!.rotated / 2];
    const [cos, sin] = ['cos', 'sin'].map((name) =>
      this.graph.once(`${name}${index}`, () => this.graph.input(`${name}${index}`, 'float32', shape)),
    );
    return { cos: cos!, sin: sin! };
  }

  /** cap · tanh(x / cap). */
  softcapped(x: Dual, cap: number): Dual {
    const { graph } = this;
    const bounded = graph.node('Tanh', [graph.node('Div', [x.value, graph.scalar(cap)])]);
    const slope = (): Value => graph.node('Sub', [graph.scalar(1), graph.node('Mul', [bounded, bounded])]);
    return {
      value: graph.node('Mul', [bounded, graph.scalar(cap)]),
      tangent: through(graph, [[x, (dx) => graph.node('Mul', [slope(), dx])]]),
    };
  }
}

export const maskName = (window: number | undefined): string => `mask_${window ?? 'all'}`;
