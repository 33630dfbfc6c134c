/** RMS and layer normalization over the last dimension. */
import type { Normalization } from '../architecture.ts';
import { type Dual, derived } from './dual.ts';
import type { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';

/**
 * `x` `[…, size]` to the same shape. With c = x (rms) or x − mean x (layer), r = 1/√(mean c² + ε) and ĉ = r·c, and dc made of dx as
 * c is of x, dy = w·r·P(dx), P(dx) = dc − ĉ·mean(ĉ·dc). P is symmetric: x̄ = r·P(w·ȳ).
 */
export function normalization(g: ModelGraph, norm: Normalization, x: Dual): Dual {
  const { graph } = g;
  const isRms = norm.kind === 'rms';
  const times = (a: Value, b: Value): Value => graph.node('Mul', [a, b]);
  const minus = (a: Value, b: Value): Value => graph.node('Sub', [a, b]);
  const mean = (x: Value): Value => graph.node('ReduceMean', [x, graph.integers([-1])], { keepdims: 1 });
  const stored = norm.affine ? g.weight(`${norm.name}.weight`) : graph.filled(1, norm.size);
  const weight = norm.unitOffset ? graph.node('Add', [stored, graph.scalar(1)]) : stored;
  const bias = (): Value => (norm.affine ? g.weight(`${norm.name}.bias`) : graph.filled(0, norm.size));

  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  const value = isRms
    ? graph.node('SimplifiedLayerNormalization', [x.value, weight], attributes)
    : graph.node('LayerNormalization', [x.value, weight, bias()], attributes);
  // Behind y the operators give mean x (layer) and r.
  const inverse = (): Value => graph.furtherOutput(value, isRms ? 1 : 2);
  const projected = (dx: Value, read: (value: Value) => Value = (value) => value): Value => {
    const centred = isRms ? x.value : minus(x.value, graph.furtherOutput(value, 1));
    const unit = read(times(centred, inverse()));
    const dc = isRms ? dx : minus(dx, mean(dx));
    return minus(dc, times(unit, mean(times(unit, dc))));
  };
  const half = (value: Value): Value => g.readInHalf(value);
  return derived(graph, value, [
    [
      x,
      // What depends on x alone is made once for all directions.
      (dx) => times(half(times(weight, inverse())), projected(half(dx), half)),
      (dy) => times(inverse(), projected(times(weight, dy))),
    ],
  ]);
}
