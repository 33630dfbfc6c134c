/** Linear layers with their LoRA adapters: y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ, W shared by all adapters of the batch. */
import type { Linear } from '../architecture.ts';
import type { Value } from './builder.ts';
import type { AdapterInputs, ModelGraph } from './model-graph.ts';
import { split } from './split.ts';

/** `x` `[G, N, fanIn]` to `[G, N, fanOut]`. A is `[G, R, fanIn]`, B `[G, fanOut, R]`. */
export function linear(g: ModelGraph, layer: Linear, x: Value): Value {
  return linears(g, [layer], x)[0]!;
}

/** Layers that read the same `x`: their A are laid together, since a product with few columns costs as much as one with 16. */
export function linears(g: ModelGraph, layers: readonly Linear[], x: Value): Value[] {
  const reduced = reduce(g, layers, x);
  return layers.map((layer) => {
    const y = unadapted(g, layer, x);
    const adapter = g.adapters.get(layer.name);
    if (adapter === undefined) return y;
    const attributes = { transB: 1, alpha: { float: adapter.scale } };
    return g.graph.node('Add', [y, g.graph.node('FusedMatMul', [reduced.get(layer)!, adapter.b], attributes)]);
  });
}

function unadapted(g: ModelGraph, layer: Linear, x: Value): Value {
  const y = g.product(x, `${layer.name}.weight`, layer);
  return layer.bias ? g.graph.node('Add', [y, g.weight(`${layer.name}.bias`)]) : y;
}

/** x·Aᵀ of each adapted layer, `[G, N, R]`. */
function reduce(g: ModelGraph, layers: readonly Linear[], x: Value): Map<Linear, Value> {
  const adapted = layers.filter(({ name }) => g.adapters.has(name));
  const inputs: AdapterInputs[] = adapted.map(({ name }) => g.adapters.get(name)!);
  if (inputs.length === 0) return new Map();
  const { graph } = g;
  const [first] = inputs;
  const a =
    inputs.length === 1
      ? first!.a
      : graph.node(
          'Concat',
          inputs.map((input) => input.a),
          { axis: 1 },
        );
  const product = graph.node('FusedMatMul', [x, a], { transB: 1 });
  if (inputs.length === 1) return new Map([[adapted[0]!, product]]);
  const parts = split(
    graph,
    product,
    inputs.map(({ rank }) => rank),
  );
  return new Map(adapted.map((layer, i) => [layer, parts[i]!]));
}
