/** The model up to its last hidden state: embedding, layers, final norm. One graph for G adapters and any rows. */
import type { AdapterLayout, AdapterTensor } from '../../kernels/adapter-layout.ts';
import type { Layer, Sublayer } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import { attention } from './attention.ts';
import { add, type Dual, linearly, scaled } from './dual.ts';
import { feedForward } from './feed-forward.ts';
import { linear } from './linear.ts';
import { directionMatrices, perturbedMatrices, thetaMatrices } from './made-adapters.ts';
import { type GraphOptions, ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';
import type { Value } from './onnx-parts.ts';

/** A serialized graph, and the directory that the locations of its weights are relative to. */
export interface SerializedGraph {
  readonly bytes: Uint8Array;
  readonly weightsDirectory: string;
  /** Values that may be read in fewer bits (precision.ts). */
  readonly halfable: readonly Value[];
}

/** The finished graph. */
export const serialized = ({ graph, halfable }: ModelGraph): SerializedGraph => ({
  bytes: graph.serialize(),
  weightsDirectory: graph.weightsDirectory,
  halfable,
});

/** Names of a module's adapter inputs, and of their tangents. */
export const adapterInput = (matrix: 'A' | 'B', module: number): string => `${matrix}${module}`;
export const tangentInput = (matrix: 'A' | 'B', module: number): string => `d${matrix}${module}`;

/**
 * Inputs: ids `[1, N]`, padding `[B, T]`, places `[N]` of tokens in `[B·T]`, labels `[L]` of tokens in `[N]`, masks, rope tables,
 * adapters. Output: hidden `[G, L, embedding size]`, the head's input at the L label positions.
 * With tangents G is 1, the trained matrices have tangents `[K, …]` as inputs too, and where the input differentiate (bool
 * `[1]`) holds a second output is tangents `[K, L, embedding size]`, the derivatives of hidden along the K directions.
 * Signed, the trained matrices and their tangents are made of θ and sign bits, the inputs that made-adapters.ts names.
 * With a cache G is 1, and `cacheInputs` of every attention and keys `[B, S]`, places in the cache and behind it, are inputs too.
 */
export function trunkGraph(
  model: BaseModel,
  layout: AdapterLayout | undefined,
  options: GraphOptions,
): SerializedGraph {
  const g = new ModelGraph(model, options);
  const { graph, architecture } = g;
  takeAdapters(g, layout, trainedMatrices(g, layout, options));
  const x = trunkParts(g).reduce((x, part) => closed(g, part(x)), tokenIds(g));
  graph.output(x.value, 'hidden', ['G', 'L', architecture.embedding.size]);
  if (x.tangent) graph.output(x.tangent, 'tangents', ['K', 'L', architecture.embedding.size]);
  return serialized(g);
}

/** Gives the modules their matrices: `trained` those that are trained, inputs of the graph the others. */
export function takeAdapters(
  { graph, adapters, halfable }: ModelGraph,
  layout: AdapterLayout | undefined,
  trained: (tensor: AdapterTensor, index: number) => Dual,
): void {
  const matrices = new Map(
    layout?.tensors.map((tensor, i) => [adapterInput(tensor.matrix, tensor.module), trained(tensor, i)]),
  );
  layout?.modules.forEach(({ name, rank, fanIn, scale }, module) => {
    const [a, b] = [adapterInput('A', module), adapterInput('B', module)];
    const frozen = (): Dual => ({ value: graph.input(a, 'float32', [1, rank, fanIn]) });
    const inputs = { a: matrices.get(a) ?? frozen(), b: matrices.get(b)!, rank, scale };
    adapters.set(name, inputs);
    for (const { value, tangent } of [inputs.a, inputs.b])
      halfable.push(value, ...(tangent === undefined ? [] : [tangent]));
  });
}

/** Trained matrices with their tangents, if those are wanted, as inputs or made of sign bits. */
function trainedMatrices(g: ModelGraph, layout: AdapterLayout | undefined, { tangents, signed }: GraphOptions) {
  const { graph } = g;
  if (layout !== undefined && signed) {
    const values = (tangents === undefined ? perturbedMatrices : thetaMatrices)(g, layout);
    const directions = tangents && directionMatrices(g, layout);
    return (_: AdapterTensor, i: number): Dual => ({ value: values[i]!, tangent: directions?.[i] });
  }
  return (tensor: AdapterTensor): Dual => ({
    value: graph.input(adapterInput(tensor.matrix, tensor.module), 'float32', ['G', ...tensor.shape]),
    tangent: tangents && graph.input(tangentInput(tensor.matrix, tensor.module), 'float32', ['K', ...tensor.shape]),
  });
}

export const tokenIds = ({ graph }: ModelGraph): Dual => ({ value: graph.input('ids', 'int64', [1, 'N']) });

/** The trunk, one part after another: from the ids `[1, N]` the embedding, from that each layer, last the hidden state. */
export function trunkParts(g: ModelGraph): ((x: Dual) => Dual)[] {
  const { layers, finalNorm, head } = g.architecture;
  const last = layers.length - 1;
  return [
    (ids) => embedding(g, ids.value),
    ...layers.map((layer, i) => (x: Dual) => decoderLayer(g, layer, x, i === last)),
    (x) => {
      const y = finalNorm ? normalization(g, finalNorm, x) : x;
      return head.projection ? linear(g, head.projection, y) : y;
    },
  ];
}

/** `[1, N, C]`: the rows of the table. What no adapter has changed yet is held and computed once for all G. */
function embedding(g: ModelGraph, ids: Value): Dual {
  const { graph } = g;
  const { tokens, scale, positions, projection } = g.architecture.embedding;
  const found = row(g, tokens, ids);
  let x: Dual = { value: scale === undefined ? found : graph.node('Mul', [found, graph.scalar(scale)]) };
  if (projection !== undefined) x = linear(g, projection, x);
  if (positions === undefined) return x;
  return add(graph, x, { value: row(g, positions.name, graph.input('positions', 'int64', [1, 'N'])) });
}

/** Rows of a table. Cast after the look-up: a stored bf16 table is never copied. */
function row(g: ModelGraph, table: string, index: Value): Value {
  const tensor = g.weightTensor(table);
  const found = g.graph.node('Gather', [g.graph.storedWeight(tensor), index], { axis: 0 });
  return tensor.dtype === 'F32' ? found : g.graph.cast(found);
}

/** Ends the branch in which the tangent of `x` was made. One branch per part: what the tangents need of it is freed with it. */
function closed(g: ModelGraph, x: Dual): Dual {
  if (x.tangent === undefined) return x;
  const [tangent, value] = g.graph.endBranch(g.differentiate(), x.tangent, [x.value]);
  return { value: value!, tangent };
}

/** Behind the last attention only the label positions count. */
function decoderLayer(g: ModelGraph, layer: Layer, x: Dual, isLast: boolean): Dual {
  const labels = g.labels();
  const residual = isLast ? linearly(g.graph, x, labels.of, labels.back) : x;
  const attended = sublayer(g, layer.attention, x, residual, (inner, y) =>
    attention(g, inner, y, isLast ? g.labelPlaces() : g.places()),
  );
  return sublayer(g, layer.feedForward, attended, attended, (inner, y) => feedForward(g, inner, y));
}

function sublayer<Inner>(
  g: ModelGraph,
  { before, inner, between, factor, after }: Sublayer<Inner>,
  x: Dual,
  residual: Dual,
  apply: (inner: Inner, x: Dual) => Dual,
): Dual {
  let y = apply(inner, before ? normalization(g, before, x) : x);
  if (between) y = normalization(g, between, y);
  if (factor !== undefined) y = scaled(g.graph, y, factor);
  const sum = add(g.graph, residual, y);
  return after ? normalization(g, after, sum) : sum;
}
