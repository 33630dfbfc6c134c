/** The model up to its last hidden state: embedding, layers, final norm. One graph for G adapters and any rows. */
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import type { Layer, Sublayer } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import { attention } from './attention.ts';
import type { Value } from './builder.ts';
import { add, type Dual, linearly } from './dual.ts';
import { feedForward } from './feed-forward.ts';
import { linear } from './linear.ts';
import { type GraphOptions, ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';

/** A serialized graph, and the directory that the locations of its weights are relative to. */
export interface SerializedGraph {
  readonly bytes: Uint8Array;
  readonly weightsDirectory: string;
}

/** Names of a module's adapter inputs, and of their tangents. */
export const adapterInput = (matrix: 'A' | 'B', module: number): string => `${matrix}${module}`;
export const tangentInput = (matrix: 'A' | 'B', module: number): string => `d${matrix}${module}`;

/**
 * Inputs: ids `[1, N]`, padding `[B, T]`, places `[N]` and labelPlaces `[L]`
 * of tokens in `[B·T]`, labels `[L]` of tokens in `[N]`, masks, rope tables, adapters.
 * Output: hidden `[G, L, embedding size]`, the head's input at the L label positions.
 * With tangents G is 1, the trained matrices have tangents `[K, …]` as inputs too, and where the input differentiate (bool
 * `[1]`) holds a second output is tangents `[K, L, embedding size]`, the derivatives of hidden along the K directions.
 */
export function trunkGraph(
  model: BaseModel,
  layout: AdapterLayout | undefined,
  options: GraphOptions,
): SerializedGraph {
  const g = new ModelGraph(model, options);
  const { graph, architecture } = g;
  layout?.modules.forEach(({ name, rank, fanIn, fanOut, scale }, module) => {
    const matrix = (matrix: 'A' | 'B', rows: number, columns: number): Dual => {
      const trained = matrix === 'B' || layout.train === 'both';
      const value = graph.input(adapterInput(matrix, module), 'float32', [trained ? 'G' : 1, rows, columns]);
      if (!trained || options.tangents === undefined) return { value };
      return { value, tangent: graph.input(tangentInput(matrix, module), 'float32', ['K', rows, columns]) };
    };
    g.adapters.set(name, { a: matrix('A', rank, fanIn), b: matrix('B', fanOut, rank), rank, scale });
  });
  const places = graph.input('places', 'int64', ['N']);
  const labelPlaces = graph.input('labelPlaces', 'int64', ['L']);
  const labels = graph.input('labels', 'int64', ['L']);
  let x = embedding(g);
  const last = architecture.layers.length - 1;
  architecture.layers.forEach((layer, i) => {
    // Behind the last attention only the label positions count.
    const residual = i === last ? linearly(graph, x, (x) => graph.node('Gather', [x, labels], { axis: 1 })) : x;
    x = closed(g, decoderLayer(g, layer, x, residual, i === last ? labelPlaces : places));
  });
  if (architecture.finalNorm) x = normalization(g, architecture.finalNorm, x);
  if (architecture.head.projection) x = linear(g, architecture.head.projection, x);
  x = closed(g, x);
  graph.output(x.value, 'hidden', ['G', 'L', architecture.embedding.size]);
  if (x.tangent) graph.output(x.tangent, 'tangents', ['K', 'L', architecture.embedding.size]);
  return { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory };
}

/** `[1, N, C]`: the rows of the table. What no adapter has changed yet is held and computed once for all G. */
function embedding(g: ModelGraph): Dual {
  const { graph } = g;
  const { tokens, scale, positions, projection } = g.architecture.embedding;
  const ids = graph.input('ids', 'int64', [1, 'N']);
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

/** Ends the branch in which the tangent of `x` was made. One branch per layer: what the tangents need of it is freed with it. */
function closed(g: ModelGraph, x: Dual): Dual {
  if (x.tangent === undefined) return x;
  const [tangent, value] = g.graph.endBranch(g.differentiate(), x.tangent, [x.value]);
  return { value: value!, tangent };
}

function decoderLayer(g: ModelGraph, layer: Layer, x: Dual, residual: Dual, places: Value): Dual {
  const attended = sublayer(g, layer.attention, x, residual, (inner, y) => attention(g, inner, y, places));
  return sublayer(g, layer.feedForward, attended, attended, (inner, y) => feedForward(g, inner, y));
}

function sublayer<Inner>(
  g: ModelGraph,
  { before, inner, between, after }: Sublayer<Inner>,
  x: Dual,
  residual: Dual,
  apply: (inner: Inner, x: Dual) => Dual,
): Dual {
  let y = apply(inner, before ? normalization(g, before, x) : x);
  if (between) y = normalization(g, between, y);
  const sum = add(g.graph, residual, y);
  return after ? normalization(g, after, sum) : sum;
}
