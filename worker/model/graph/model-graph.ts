/** What every graph part needs: the builder, the model's weights, and the inputs that it shares with the other parts. */
import assert from 'node:assert/strict';
import type { Architecture, Linear } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import { BLOCK, type Int8Weights, int8Parts } from '../int8-weights.ts';
import { GraphBuilder, type Value } from './builder.ts';

/** The inputs of one adapted layer: A `[G, R, fanIn]`, B `[G, fanOut, R]` (or 1 in place of G, where all share it). */
export interface AdapterInputs {
  readonly a: Value;
  readonly b: Value;
  readonly rank: number;
  readonly scale: number;
}

export class ModelGraph {
  readonly graph: GraphBuilder;
  readonly architecture: Architecture;
  /** By the layer's name. */
  readonly adapters = new Map<string, AdapterInputs>();
  private readonly model: BaseModel;
  private readonly int8: Int8Weights | undefined;
  private readonly made = new Map<string, Value>();

  constructor(model: BaseModel, int8?: Int8Weights) {
    this.model = model;
    this.int8 = int8;
    this.architecture = model.architecture;
    const quantized = [...(int8?.values() ?? [])].map((weight) => weight.quantized);
    this.graph = new GraphBuilder([...model.weights.values(), ...quantized]);
  }

  /** A tensor of the description in float32. */
  weight(name: string): Value {
    return this.once(name, () => this.graph.weight(this.weightTensor(name)));
  }

  weightTensor(name: string) {
    const tensor = this.model.weights.get(name);
    assert(tensor !== undefined, `the description requires ${name}`);
    return tensor;
  }

  /** x·Wᵀ: `x` `[…, fanIn]` to `[…, fanOut]`, with W from the quantized weights where there are some. */
  product(x: Value, name: string, { fanIn, fanOut, stored }: Pick<Linear, 'fanIn' | 'fanOut' | 'stored'>): Value {
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

  /** Index of the packed token at each padded place, `[B, T]`. Places behind a row's end hold any token. */
  padding(): Value {
    return this.once('padding', () => this.graph.input('padding', 'int64', ['B', 'T']));
  }

  /** Added to the scores, `[T, T]`: 0 where a query (row) may see a key (column), else the lowest float32. */
  mask(window: number | undefined): Value {
    return this.once(maskName(window), () => this.graph.input(maskName(window), 'float32', ['T', 'T']));
  }

  /** cos and sin of each packed token, `[N, rotated / 2]`. */
  rope(index: number): { cos: Value; sin: Value } {
    const shape = ['N', this.architecture.ropes[index]!.rotated / 2];
    const [cos, sin] = ['cos', 'sin'].map((name) =>
      this.once(`${name}${index}`, () => this.graph.input(`${name}${index}`, 'float32', shape)),
    );
    return { cos: cos!, sin: sin! };
  }

  /** cap · tanh(x / cap). */
  softcapped(x: Value, cap: number): Value {
    const bounded = this.graph.node('Tanh', [this.graph.node('Div', [x, this.graph.scalar(cap)])]);
    return this.graph.node('Mul', [bounded, this.graph.scalar(cap)]);
  }

  private once(name: string, make: () => Value): Value {
    const value = this.made.get(name) ?? make();
    this.made.set(name, value);
    return value;
  }
}

export const maskName = (window: number | undefined): string => `mask_${window ?? 'all'}`;
