/** The model up to its last hidden state: embedding, layers, final norm. One graph for G adapters and any rows. */
import type { AdapterLayout } from '../../../kernels/adapter-layout.ts';
import type { Layer, Sublayer } from '../architecture.ts';
import type { BaseModel } from '../base-model.ts';
import type { Int8Weights } from '../int8-weights.ts';
import { attention } from './attention.ts';
import type { Value } from './builder.ts';
import { feedForward } from './feed-forward.ts';
import { linear } from './linear.ts';
import { ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';

/** A serialized graph, and the directory that the locations of its weights are relative to. */
export interface SerializedGraph {
  readonly bytes: Uint8Array;
  readonly weightsDirectory: string;
}

/** Names of a module's adapter inputs. */
export const adapterInput = (matrix: 'A' | 'B', module: number): string => `${matrix}${module}`;

/**
 * Inputs: ids `[1, N]`, group `[G]` zeros (says G where no adapter does), padding `[B, T]`, places `[N]` and labelPlaces `[L]`
 * of tokens in `[B·T]`, labels `[L]` of tokens in `[N]`, masks, rope tables, adapters.
 * Output: hidden `[G, L, embedding size]`, the head's input at the L label positions.
 */
export function trunkGraph(model: BaseModel, layout: AdapterLayout | undefined, int8?: Int8Weights): SerializedGraph {
  const g = new ModelGraph(model, int8);
  const { graph, architecture } = g;
  layout?.modules.forEach(({ name, rank, fanIn, fanOut, scale }, module) => {
    const a = graph.input(adapterInput('A', module), 'float32', [layout.train === 'B' ? 1 : 'G', rank, fanIn]);
    const b = graph.input(adapterInput('B', module), 'float32', ['G', fanOut, rank]);
    g.adapters.set(name, { a, b, rank, scale });
  });
  const places = graph.input('places', 'int64', ['N']);
  const labelPlaces = graph.input('labelPlaces', 'int64', ['L']);
  const labels = graph.input('labels', 'int64', ['L']);
  let x = embedding(g);
  const last = architecture.layers.length - 1;
  architecture.layers.forEach((layer, i) => {
    // Behind the last attention only the label positions count.
    const residual = i === last ? graph.node('Gather', [x, labels], { axis: 1 }) : x;
    x = decoderLayer(g, layer, x, residual, i === last ? labelPlaces : places);
  });
  if (architecture.finalNorm) x = normalization(g, architecture.finalNorm, x);
  if (architecture.head.projection) x = linear(g, architecture.head.projection, x);
  graph.output(x, 'hidden', ['G', 'L', architecture.embedding.size]);
  return { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory };
}

/** `[G, N, C]`: the rows of the table, the same for all G adapters. */
function embedding(g: ModelGraph): Value {
  const { graph } = g;
  const { tokens, scale, positions, projection } = g.architecture.embedding;
  const ids = graph.input('ids', 'int64', [1, 'N']);
  const group = graph.input('group', 'int64', ['G']);
  let x = graph.node('Gather', [row(g, tokens, ids), group], { axis: 0 });
  if (scale !== undefined) x = graph.node('Mul', [x, graph.scalar(scale)]);
  if (projection !== undefined) x = linear(g, projection, x);
  if (positions === undefined) return x;
  return graph.node('Add', [x, row(g, positions.name, graph.input('positions', 'int64', [1, 'N']))]);
}

/** Rows of a table. Cast after the look-up: a stored bf16 table is never copied. */
function row(g: ModelGraph, table: string, index: Value): Value {
  const tensor = g.weightTensor(table);
  const found = g.graph.node('Gather', [g.graph.storedWeight(tensor), index], { axis: 0 });
  return tensor.dtype === 'F32' ? found : g.graph.cast(found);
}

function decoderLayer(g: ModelGraph, layer: Layer, x: Value, residual: Value, places: Value): Value {
  const attended = sublayer(g, layer.attention, x, residual, (inner, y) => attention(g, inner, y, places));
  return sublayer(g, layer.feedForward, attended, attended, (inner, y) => feedForward(g, inner, y));
}

function sublayer<Inner>(
  g: ModelGraph,
  { before, inner, between, after }: Sublayer<Inner>,
  x: Value,
  residual: Value,
  apply: (inner: Inner, x: Value) => Value,
): Value {
  let y = apply(inner, before ? normalization(g, before, x) : x);
  if (between) y = normalization(g, between, y);
  const sum = g.graph.node('Add', [residual, y]);
  return after ? normalization(g, after, sum) : sum;
}
