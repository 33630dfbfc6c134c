/** Linear layers with their LoRA adapters: y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ, W shared by all adapters of the batch. */
import type { Linear } from '../architecture.ts';
import type { GraphBuilder } from './builder.ts';
import { add, type Dual, derived, split, together } from './dual.ts';
import type { AdapterInputs, ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';

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
  const product = g.product(x, `${layer.name}.weight`, layer);
  if (!layer.bias) return product;
  return { ...product, value: g.graph.node('Add', [product.value, g.weight(`${layer.name}.bias`)]) };
}

/** u = x·Aᵀ of each adapted layer, `[G, N, R]`; du = dx·Aᵀ + x·dAᵀ; x̄ = ū·A, Ā = ūᵀ·x. */
function reduce(g: ModelGraph, layers: readonly Linear[], x: Dual): Map<Linear, Dual> {
  const adapted = layers.filter(({ name }) => g.adapters.has(name));
  const inputs: AdapterInputs[] = adapted.map(({ name }) => g.adapters.get(name)!);
  if (inputs.length === 0) return new Map();
  const { graph } = g;
  const { fanIn } = layers[0]!;
  const ranks = inputs.map(({ rank }) => rank);
  const rank = ranks.reduce((sum, rank) => sum + rank);
  const times = (x: Value, m: Value): Value => graph.node('FusedMatMul', [x, m], { transB: 1 });
  const matrices = inputs.map(({ a }) => a);
  // One below the other.
  const a = matrices.length === 1 ? matrices[0]! : together(graph, matrices, ranks, 1);
  const product = derived(graph, times(x.value, a.value), [
    [
      x,
      (dx) => times(dx, graph.node('Squeeze', [a.value, graph.integers([0])])),
      (du) => graph.node('MatMul', [du, a.value]),
    ],
    [
      a,
      (dA) => timesEach(graph, x.value, dA, rank, fanIn),
      (du) => g.readInHalf(graph.node('FusedMatMul', [du, x.value], { transA: 1 })),
    ],
  ]);
  const parts = inputs.length === 1 ? [product] : split(graph, product, ranks);
  return new Map(adapted.map((layer, i) => [layer, parts[i]!]));
}

/** x·mᵀ for each of K matrices `[K, R, fanIn]`: one product with K·R columns, since few columns cost as much as 16. */
function timesEach(graph: GraphBuilder, x: Value, m: Value, rank: number, fanIn: number): Value {
  const columns = graph.node('Reshape', [m, graph.integers([-1, fanIn])]);
  const product = graph.node('FusedMatMul', [x, columns], { transB: 1 });
  const byToken = graph.node('Squeeze', [product, graph.integers([0])]);
  const byDirection = graph.node('Reshape', [byToken, graph.integers([0, -1, rank])]);
  return graph.node('Transpose', [byDirection], { perm: [1, 0, 2] });
}

/** y = scale·u·Bᵀ, `[G, N, fanOut]`; dy = scale·(du·Bᵀ + u·dBᵀ); ū = scale·ȳ·B, B̄ = scale·ȳᵀ·u. */
function expand(g: ModelGraph, { b, scale }: AdapterInputs, u: Dual): Dual {
  const { graph } = g;
  const scaled = scaledProduct(graph, scale);
  const times = (u: Value, b: Value): Value => scaled(u, b, { transB: 1 });
  const value = times(u.value, b.value);
  if (u.tangent !== undefined && b.tangent !== undefined) return { value, tangent: expandTangent(graph, u, b, times) };
  return derived(graph, value, [
    [u, (du) => times(du, b.value), (dy) => scaled(dy, b.value)],
    [b, (dB) => times(u.value, dB), (dy) => g.readInHalf(scaled(dy, u.value, { transA: 1 }))],
  ]);
}

/** du·Bᵀ + u·dBᵀ as one product of twice the rank. */
function expandTangent(graph: GraphBuilder, u: Dual, b: Dual, times: (u: Value, b: Value) => Value): Value {
  const [du, dB] = [u.tangent!, b.tangent!];
  const like = (x: Value, dx: Value): Value => graph.node('Expand', [x, graph.node('Shape', [dx])]);
  return graph.inBranch(() => {
    const left = graph.node('Concat', [du, like(u.value, du)], { axis: -1 });
    return times(left, graph.node('Concat', [like(b.value, dB), dB], { axis: -1 }));
  });
}

/** scale·a·b of matrices in the last two dimensions, a or b transposed where `turned` says so (transA, transB: 1). */
export const scaledProduct =
  (graph: GraphBuilder, scale: number) =>
  (a: Value, b: Value, turned: { readonly transA?: 1; readonly transB?: 1 } = {}): Value =>
    graph.node('FusedMatMul', [a, b], { ...turned, alpha: { float: scale } });
