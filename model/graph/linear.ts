/** Linear layers with their LoRA adapters: y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ, W shared by all adapters of the batch. */
import type { Linear } from '../architecture.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { add, bilinearly, type Dual, split, through } from './dual.ts';
import type { AdapterInputs, ModelGraph } from './model-graph.ts';

/** `x` `[G, N, fanIn]` to `[G, N, fanOut]`. A is `[G, R, fanIn]`, B `[G, fanOut, R]`. */
export function linear(g: ModelGraph, layer: Linear, x: Dual): Dual {
  return linears(g, [layer], x)[0]!;
}

/** Layers that read the same `x`: their A are laid together, since a product with few columns costs as much as one with 16. */
export function linears(g: ModelGraph, layers: readonly Linear[], x: Dual): Dual[] {
  const reduced = reduce(g, layers, x);
  return layers.map((layer) => {
    const y = unadapted(g, layer, x);
    const adapter = g.adapters.get(layer.name);
    return adapter === undefined ? y : add(g.graph, y, expand(g, adapter, reduced.get(layer)!));
  });
}

function unadapted(g: ModelGraph, layer: Linear, x: Dual): Dual {
  const { value, tangent } = g.product(x, `${layer.name}.weight`, layer);
  if (!layer.bias) return { value, tangent };
  return { value: g.graph.node('Add', [value, g.weight(`${layer.name}.bias`)]), tangent };
}

/** u = x·Aᵀ of each adapted layer, `[G, N, R]`; du = dx·Aᵀ + x·dAᵀ. */
function reduce(g: ModelGraph, layers: readonly Linear[], x: Dual): Map<Linear, Dual> {
  const adapted = layers.filter(({ name }) => g.adapters.has(name));
  const inputs: AdapterInputs[] = adapted.map(({ name }) => g.adapters.get(name)!);
  if (inputs.length === 0) return new Map();
  const { graph } = g;
  const { fanIn } = layers[0]!;
  const ranks = inputs.map(({ rank }) => rank);
  const rank = ranks.reduce((sum, rank) => sum + rank);
  const times = (x: Value, m: Value): Value => graph.node('FusedMatMul', [x, m], { transB: 1 });
  const a = together(
    graph,
    inputs.map(({ a }) => a),
  );
  const product = {
    value: times(x.value, a.value),
    tangent: through(graph, [
      [x, (dx) => times(dx, graph.node('Squeeze', [a.value, graph.integers([0])]))],
      [a, (dA) => timesEach(graph, x.value, dA, rank, fanIn)],
    ]),
  };
  const parts = inputs.length === 1 ? [product] : split(graph, product, ranks);
  return new Map(adapted.map((layer, i) => [layer, parts[i]!]));
}

/** Matrices `[G, R, fanIn]` one below the other. Either all of them have tangents or none. */
function together(graph: GraphBuilder, matrices: readonly Dual[]): Dual {
  const stacked = (values: readonly Value[]): Value =>
    values.length === 1 ? values[0]! : graph.node('Concat', values, { axis: 1 });
  const tangents = matrices.flatMap(({ tangent }) => tangent ?? []);
  return {
    value: stacked(matrices.map(({ value }) => value)),
    tangent: tangents.length === 0 ? undefined : graph.inBranch(() => stacked(tangents)),
  };
}

/** x·mᵀ for each of K matrices `[K, R, fanIn]`: one product with K·R columns, since few columns cost as much as 16. */
function timesEach(graph: GraphBuilder, x: Value, m: Value, rank: number, fanIn: number): Value {
  const columns = graph.node('Reshape', [m, graph.integers([-1, fanIn])]);
  const product = graph.node('FusedMatMul', [x, columns], { transB: 1 });
  const byToken = graph.node('Squeeze', [product, graph.integers([0])]);
  const byDirection = graph.node('Reshape', [byToken, graph.integers([0, -1, rank])]);
  return graph.node('Transpose', [byDirection], { perm: [1, 0, 2] });
}

/** y = scale·u·Bᵀ, `[G, N, fanOut]`; dy = scale·(du·Bᵀ + u·dBᵀ), one product of twice the rank. */
function expand({ graph }: ModelGraph, { b, scale }: AdapterInputs, u: Dual): Dual {
  const times = (u: Value, b: Value): Value =>
    graph.node('FusedMatMul', [u, b], { transB: 1, alpha: { float: scale } });
  if (u.tangent === undefined || b.tangent === undefined) return bilinearly(graph, u, b, times);
  const [du, dB] = [u.tangent, b.tangent];
  const beside = (dx: Value, x: Value): Value =>
    graph.node('Concat', [dx, graph.node('Expand', [x, graph.node('Shape', [dx])])], { axis: -1 });
  const tangent = graph.inBranch(() => {
    const values = graph.node('Concat', [graph.node('Expand', [b.value, graph.node('Shape', [dB])]), dB], { axis: -1 });
    return times(beside(du, u.value), values);
  });
  return { value: times(u.value, b.value), tangent };
}
