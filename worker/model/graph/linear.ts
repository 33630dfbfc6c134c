/** A linear layer with its LoRA adapter: y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ, W shared by all adapters of the batch. */
import type { Linear } from '../architecture.ts';
import type { Value } from './builder.ts';
import type { ModelGraph } from './model-graph.ts';

/** `x` `[G, N, fanIn]` to `[G, N, fanOut]`. A is `[G, R, fanIn]`, B `[G, fanOut, R]`. */
export function linear(g: ModelGraph, layer: Linear, x: Value): Value {
  const { graph } = g;
  const weight = g.weight(`${layer.name}.weight`);
  let y = graph.node('FusedMatMul', [x, weight], { transB: layer.stored === 'out-in' ? 1 : 0 });
  if (layer.bias) y = graph.node('Add', [y, g.weight(`${layer.name}.bias`)]);
  const adapter = g.adapters.get(layer.name);
  if (adapter === undefined) return y;
  const reduced = graph.node('FusedMatMul', [x, adapter.a], { transB: 1 });
  const delta = graph.node('FusedMatMul', [reduced, adapter.b], { transB: 1, alpha: { float: adapter.scale } });
  return graph.node('Add', [y, delta]);
}
