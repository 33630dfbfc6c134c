/** What every graph part needs: the builder, the model's weights, and the inputs that it shares with the other parts. */
import assert from 'node:assert/strict';
import type { Architecture, Attention, Linear } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import { BLOCK, type Int8Weight, type Int8Weights, int8Parts } from '../int8-weights.ts';
import { GraphBuilder } from './builder.ts';
import { type Dual, derived } from './dual.ts';
import { int8Product } from './int8-product.ts';
import type { Value } from './onnx-parts.ts';

/** The inputs of one adapted layer: A `[G, R, fanIn]`, B `[G, fanOut, R]` (or 1 in place of G, where all share it). */
export interface AdapterInputs {
  readonly a: Dual;
  readonly b: Dual;
  readonly rank: number;
  readonly scale: number;
}

/** A choice of tokens or places, some perhaps more than once, and its transpose. Both leave the first and last dimension as they are. */
export interface Choice {
  of(x: Value): Value;
  /** Each adds up what was chosen of it; what was not chosen has 0. */
  back(dy: Value): Value;
}

/** Precision of the products of tangents with base weights. */
export type TangentPrecision = 'float32' | 'int8';

export interface GraphOptions {
  /** Base weights in 8 bits, in place of the model's own. */
  readonly int8?: Int8Weights | undefined;
  /** Undefined: a graph without directions. */
  readonly tangents?: TangentPrecision | undefined;
  /** Adapters and directions are made of sign bits (made-adapters.ts), not inputs. */
  readonly signed?: boolean | undefined;
  /** Keys and values of tokens that were read before are inputs, those of the tokens that are read outputs. Not with derivatives. */
  readonly cached?: boolean | undefined;
}

export class ModelGraph {
  readonly graph: GraphBuilder;
  readonly architecture: Architecture;
  /** By the layer's name. */
  readonly adapters = new Map<string, AdapterInputs>();
  /** Values that may be read in fewer bits: matrices of adapters, slopes of activations, tangents that are normalized. */
  readonly halfable: Value[] = [];
  private readonly model: BaseModel;
  private readonly int8: Int8Weights | undefined;
  private readonly tangents: TangentPrecision | undefined;
  private readonly cached: boolean;

  constructor(model: BaseModel, { int8, tangents, cached = false }: GraphOptions) {
    this.model = model;
    this.int8 = int8;
    this.tangents = tangents;
    this.cached = cached;
    this.architecture = model.architecture;
    const quantized = [...(int8?.values() ?? [])].map((weight) => weight.quantized);
    this.graph = new GraphBuilder([...model.weights.values(), ...quantized]);
  }

  /** Says of `value` that it may be read in fewer bits (precision.ts). */
  readInHalf(value: Value): Value {
    this.halfable.push(value);
    return value;
  }

  /** `value` for those who may read it in fewer bits, beside others who may not. */
  copyInHalf(value: Value): Value {
    return this.readInHalf(this.graph.node('Identity', [value]));
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
    const { graph } = this;
    const stands = layer.stored === 'out-in';
    const exactly = (x: Value): Value => {
      const int8 = this.int8?.get(name);
      return int8 === undefined ? this.timesWeight(x, name, stands) : this.timesCodes(x, int8, layer);
    };
    const push = (dx: Value): Value =>
      this.tangents === 'int8' ? int8Product(graph, dx, this.weight(name), layer) : exactly(dx);
    return derived(graph, exactly(x.value), [[x, push, (dy) => this.timesWeight(dy, name, !stands)]]);
  }

  private timesWeight(x: Value, name: string, transposed: boolean): Value {
    const inputs = [x, this.weight(name)];
    return transposed ? this.graph.node('FusedMatMul', inputs, { transB: 1 }) : this.graph.node('MatMul', inputs);
  }

  private timesCodes(x: Value, int8: Int8Weight, { fanIn, fanOut }: Pick<Linear, 'fanIn' | 'fanOut'>): Value {
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
    return this.graph.input('differentiate', 'bool', [1]);
  }

  /**
   * Packed tokens `[G, N, C]` to places `[G, B, T, C]`. Places that no row has hold any token, and nothing comes back from them.
   * A token that rows share gets back what its first place says, and the sum over its copies.
   */
  padding(): Choice {
    const padding = this.graph.input('padding', 'int64', ['B', 'T']);
    return {
      of: (x) => this.gathered(x, padding),
      back: (dy) => {
        const first = this.gathered(dy, this.graph.input('places', 'int64', ['N']));
        const others = this.gathered(dy, this.graph.input('copies', 'int64', ['E']));
        const sums = this.graph.node('MatMul', [this.graph.input('copyOf', 'float32', ['N', 'E']), others]);
        return this.graph.node('Add', [first, sums]);
      },
    };
  }

  /** `x` `[1, N, size]`, of keys or values, behind those of the tokens that were read before: `[1, P + N, size]`. */
  remembered(x: Dual, input: string, size: number): Dual {
    if (!this.cached) return x;
    this.graph.output(x.value, readOutput(input), [1, 'N', size]);
    const past = this.graph.input(input, 'float32', [1, 'P', size]);
    return { value: this.graph.node('Concat', [past, x.value], { axis: 1 }) };
  }

  /** What is remembered to places `[G, B, S, C]`; without a cache these are the tokens' own places. */
  keyPlaces(): Choice {
    if (!this.cached) return this.padding();
    const keys = this.graph.input('keys', 'int64', ['B', 'S']);
    return { of: (x) => this.gathered(x, keys), back: () => assert.fail('a graph with a cache has no derivatives') };
  }

  /** Places `[G, B·T, C]` to packed tokens `[G, N, C]`: the first place of each. Back to `[G, B, T, C]`. */
  places(): Choice {
    const places = this.graph.input('places', 'int64', ['N']);
    return {
      of: (x) => this.gathered(x, places),
      back: (dy) => {
        const everywhere = this.gathered(dy, this.graph.input('padding', 'int64', ['B', 'T']));
        return this.graph.node('Mul', [everywhere, this.graph.input('isFirst', 'float32', ['B', 'T', 1])]);
      },
    };
  }

  /** Packed tokens `[G, N, C]` to those at label positions `[G, L, C]`; rows that share tokens may share them too. */
  labels(): Choice {
    const labels = this.graph.input('labels', 'int64', ['L']);
    return {
      of: (x) => this.gathered(x, labels),
      back: (dy) => this.graph.node('MatMul', [this.graph.input('labelOf', 'float32', ['N', 'L']), dy]),
    };
  }

  /** Places `[G, B·T, C]` to label positions `[G, L, C]`: `places`, then `labels`. */
  labelPlaces(): Choice {
    const labelPlaces = this.graph.input('labelPlaces', 'int64', ['L']);
    return {
      of: (x) => this.gathered(x, labelPlaces),
      back: (dy) => this.places().back(this.labels().back(dy)),
    };
  }

  private gathered(x: Value, index: Value): Value {
    return this.graph.node('Gather', [x, index], { axis: 1 });
  }

  /**
   * Added to the scores of `shared` heads, `[B, 1, shared · T, T]` (`S` keys with a cache): 0 where a query (row) may see a key
   * (column), else the lowest float32.
   */
  mask(window: number | undefined, shared: number): Value {
    const { graph } = this;
    const mask = graph.input(maskName(window), 'float32', ['B', 1, 'T', this.cached ? 'S' : 'T']);
    if (shared === 1) return mask;
    const heads = new Array<Value>(shared).fill(mask);
    return graph.once(`${mask} of ${shared} heads`, () =>
      graph.outside(() => graph.node('Concat', heads, { axis: 2 })),
    );
  }

  /** cos and sin of each packed token, `[N, rotated / 2]`. */
  rope(index: number): { cos: Value; sin: Value } {
    const shape = ['N', this.architecture.ropes[index]!.rotated / 2];
    return {
      cos: this.graph.input(`cos${index}`, 'float32', shape),
      sin: this.graph.input(`sin${index}`, 'float32', shape),
    };
  }

  /** cap · tanh(x / cap). */
  softcapped(x: Dual, cap: number): Dual {
    const { graph } = this;
    const bounded = graph.node('Tanh', [graph.node('Div', [x.value, graph.scalar(cap)])]);
    const slope = (): Value => graph.node('Sub', [graph.scalar(1), graph.node('Mul', [bounded, bounded])]);
    return derived(graph, graph.node('Mul', [bounded, graph.scalar(cap)]), [
      [x, (dx) => graph.node('Mul', [slope(), dx])],
    ]);
  }
}

export const maskName = (window: number | undefined): string => `mask_${window ?? 'all'}`;

/** The cache of an attention: inputs of what was read before, each `[1, P, size]`, one row for each token. */
export const cacheInputs = ({ output, keyValueHeads, headSize }: Attention) => ({
  key: `key of ${output.name}`,
  value: `value of ${output.name}`,
  size: keyValueHeads * headSize,
});

/** The output `[1, N, size]` of the tokens that are read, for a cache's input. */
export const readOutput = (input: string): string => `${input}, read`;
