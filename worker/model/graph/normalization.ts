/** RMS and layer normalization over the last dimension. */
import type { Normalization } from '../architecture.ts';
import type { Value } from './builder.ts';
import { type Dual, through } from './dual.ts';
import type { ModelGraph } from './model-graph.ts';

/** `x` `[…, size]` to the same shape. */
export function normalization(g: ModelGraph, norm: Normalization, x: Dual): Dual {
  const { graph } = g;
  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  const stored = norm.affine ? g.weight(`${norm.name}.weight`) : graph.filled(1, norm.size);
  const weight = norm.unitOffset ? graph.node('Add', [stored, graph.scalar(1)]) : stored;
  const unit = (x: Value, inverse: Value): Value => graph.node('Mul', [x, inverse]);
  if (norm.kind === 'rms') {
    const outputs = x.tangent ? 2 : 1;
    const inputs = [x.value, weight];
    const [value, inverse] = graph.nodeWithOutputs('SimplifiedLayerNormalization', inputs, outputs, attributes);
    const tangent = through(graph, [[x, (dx) => tangentOf(g, unit(x.value, inverse!), dx, weight, inverse!)]]);
    return { value: value!, tangent };
  }
  const bias = norm.affine ? g.weight(`${norm.name}.bias`) : graph.filled(0, norm.size);
  const inputs = [x.value, weight, bias];
  const [value, mean, inverse] = graph.nodeWithOutputs('LayerNormalization', inputs, x.tangent ? 3 : 1, attributes);
  const centred = (): Value => unit(graph.node('Sub', [x.value, mean!]), inverse!);
  const change = (dx: Value): Value => graph.node('Sub', [dx, meanOf(g, dx)]);
  const tangent = through(graph, [[x, (dx) => tangentOf(g, centred(), change(dx), weight, inverse!)]]);
  return { value: value!, tangent };
}

/** dy of y = w·x̂, x̂ = r·x, r = 1/√(mean x² + ε): w·r·(dx − x̂·mean(x̂·dx)). `unit` is x̂, `inverse` r. */
function tangentOf(g: ModelGraph, unit: Value, dx: Value, weight: Value, inverse: Value): Value {
  const { graph } = g;
  const along = graph.node('Mul', [unit, meanOf(g, graph.node('Mul', [unit, dx]))]);
  return graph.node('Mul', [graph.node('Mul', [weight, inverse]), graph.node('Sub', [dx, along])]);
}

function meanOf({ graph }: ModelGraph, x: Value): Value {
  return graph.node('ReduceMean', [x, graph.integers([-1])], { keepdims: 1 });
}
