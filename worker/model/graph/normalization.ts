/** RMS and layer normalization over the last dimension. */
import type { Normalization } from '../architecture.ts';
import type { Value } from './builder.ts';
import type { ModelGraph } from './model-graph.ts';

/** `x` `[…, size]` to the same shape. */
export function normalization(g: ModelGraph, norm: Normalization, x: Value): Value {
  const { graph } = g;
  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  const stored = norm.affine ? g.weight(`${norm.name}.weight`) : graph.filled(1, norm.size);
  const weight = norm.unitOffset ? graph.node('Add', [stored, graph.scalar(1)]) : stored;
  if (norm.kind === 'rms') return graph.node('SimplifiedLayerNormalization', [x, weight], attributes);
  const bias = norm.affine ? g.weight(`${norm.name}.bias`) : graph.filled(0, norm.size);
  return graph.node('LayerNormalization', [x, weight, bias], attributes);
}
