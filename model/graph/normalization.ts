/** RMS and layer normalization over the last dimension. */
import type { Normalization } from '../architecture.ts';
import type { GraphBuilder } from './builder.ts';
import { type Dual, derived } from './dual.ts';
import type { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';

/**
 * `x` `[…, size]` to the same shape. With c = x (rms) or x − mean x (layer), r = 1/√(mean c² + ε) and ĉ = r·c, and dc made of dx as
 * c is of x, dy = w·J(dx), J(dx) = r·(dc − ĉ·mean(ĉ·dc)). J is symmetric: x̄ = J(w·ȳ).
 */
export function normalization(g: ModelGraph, norm: Normalization, x: Dual): Dual {
  const { graph } = g;
  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  const stored = norm.affine ? g.weight(`${norm.name}.weight`) : graph.filled(1, norm.size);
  const weight = norm.unitOffset ? graph.node('Add', [stored, graph.scalar(1)]) : stored;
  const times = (a: Value, b: Value): Value => graph.node('Mul', [a, b]);
  const half = (value: Value): Value => g.readInHalf(value);
  const whole = (value: Value): Value => value;
  const derivative = [
    x,
    (dx: Value) => turned(graph, norm, x.value, half(dx), half, (inverse) => times(weight, inverse)),
    (dy: Value) => turned(graph, norm, x.value, times(weight, dy), whole),
  ] as const;
  if (norm.kind === 'rms')
    return derived(graph, graph.node('SimplifiedLayerNormalization', [x.value, weight], attributes), [derivative]);
  const bias = norm.affine ? g.weight(`${norm.name}.bias`) : graph.filled(0, norm.size);
  return derived(graph, graph.node('LayerNormalization', [x.value, weight, bias], attributes), [derivative]);
}

/**
 * J(dx) with `factorOf` r in the place of its first r. `read` says of what is made of x alone how it may be read.
 * r is made anew: WebGPU's normalizations do not give it as their other output (ONNX Runtime 1.30, rms).
 */
function turned(
  graph: GraphBuilder,
  { kind, epsilon }: Normalization,
  x: Value,
  dx: Value,
  read: (value: Value) => Value,
  factorOf = (inverse: Value): Value => inverse,
): Value {
  const mean = (x: Value): Value => graph.node('ReduceMean', [x, graph.integers([-1])], { keepdims: 1 });
  const times = (a: Value, b: Value): Value => graph.node('Mul', [a, b]);
  const minus = (a: Value, b: Value): Value => graph.node('Sub', [a, b]);
  const [c, dc] = kind === 'rms' ? [x, dx] : [x, dx].map((x) => minus(x, mean(x)));
  const square = graph.node('Add', [mean(times(c!, c!)), graph.scalar(epsilon)]);
  const inverse = graph.node('Reciprocal', [graph.node('Sqrt', [square])]);
  const unit = times(c!, inverse);
  const factor = factorOf(inverse);
  // What depends on x alone is made once for all directions.
  const [direct, along] = [factor, times(factor, unit)].map(read);
  return minus(times(direct!, dc!), times(along!, mean(times(read(unit), dc!))));
}
