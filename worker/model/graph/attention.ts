/**
 * Causal self-attention over packed rows. Projections and rope see the N packed tokens; scores see the B rows, each padded
 * on the right to T. A padded place lies behind every token of its row, so the causal mask hides it from all that count.
 */
import type { Attention, Rope } from '../architecture.ts';
import type { Value } from './builder.ts';
import { linear, linears } from './linear.ts';
import type { ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';
import { split } from './split.ts';

/** `x` `[G, N, C]` to `[G, N', C]`, where `places` says which N' tokens are wanted, as places of `[B·T]`. */
export function attention(g: ModelGraph, description: Attention, x: Value, places: Value): Value {
  const { graph } = g;
  const { heads, keyValueHeads, headSize, scale, softcap } = description;
  const [q, k, v] = project(g, description, x);
  const shared = heads / keyValueHeads;
  // The heads that share a key stand beside it: [G, B, keyValueHeads, shared, T, D] against [G, B, keyValueHeads, 1, T, D].
  const query = headsFirst(g, positioned(g, description, q!, heads, description.queryNorm), shared, description);
  const key = headsFirst(g, positioned(g, description, k!, keyValueHeads, description.keyNorm), 1, description);
  let scores = graph.node('FusedMatMul', [query, key], { transB: 1, alpha: { float: scale } });
  if (softcap !== undefined) scores = g.softcapped(scores, softcap);
  const weights = graph.node('Softmax', [graph.node('Add', [scores, g.mask(description.window)])], { axis: -1 });
  const mixed = graph.node('MatMul', [weights, headsFirst(g, v!, 1, description)]);
  const tokensFirst = graph.node('Transpose', [mixed], { perm: [0, 1, 4, 2, 3, 5] });
  const merged = graph.node('Reshape', [tokensFirst, graph.integers([0, -1, heads * headSize])]);
  return linear(g, description.output, graph.node('Gather', [merged, places], { axis: 1 }));
}

/** q, k and v, each `[G, N, its heads · D]`. */
function project(g: ModelGraph, { projections, heads, keyValueHeads, headSize }: Attention, x: Value): Value[] {
  if ('qkv' in projections) {
    const [query, keyValue] = [heads * headSize, keyValueHeads * headSize];
    return split(g.graph, linear(g, projections.qkv, x), [query, keyValue, keyValue]);
  }
  return linears(g, [projections.q, projections.k, projections.v], x);
}

/** Normalized per head where the family does so, then rotated. `[G, N, heads · D]` to the same. */
function positioned(
  g: ModelGraph,
  { headSize, rope }: Attention,
  x: Value,
  heads: number,
  norm: Attention['queryNorm'],
): Value {
  const { graph } = g;
  if (norm !== undefined) {
    const perHead = graph.node('Reshape', [x, graph.integers([0, 0, heads, headSize])]);
    x = graph.node('Reshape', [normalization(g, norm, perHead), graph.integers([0, 0, heads * headSize])]);
  }
  return rope === undefined ? x : rotated(g, rope, g.architecture.ropes[rope]!, x, heads, headSize);
}

/** Rotates the first `rotated` elements of each head by the token's position; pairs are element i and i + rotated / 2. */
function rotated(g: ModelGraph, index: number, rope: Rope, x: Value, heads: number, headSize: number): Value {
  const { cos, sin } = g.rope(index);
  const partial: Record<string, number> =
    rope.rotated < headSize ? { rotary_embedding_dim: rope.rotated, num_heads: heads } : {};
  // Row n of the tables belongs to packed token n, so the "position" of the operator is n itself, from 0.
  return g.graph.node('RotaryEmbedding', [x, g.graph.integers([0]), cos, sin], partial);
}

/** Packed `[G, N, heads · D]` to padded `[G, B, heads / shared, shared, T, D]`. */
function headsFirst(g: ModelGraph, x: Value, shared: number, { keyValueHeads, headSize }: Attention): Value {
  const { graph } = g;
  const padded = graph.node('Gather', [x, g.padding()], { axis: 1 });
  const perHead = graph.node('Reshape', [padded, graph.integers([0, 0, 0, keyValueHeads, shared, headSize])]);
  return graph.node('Transpose', [perHead], { perm: [0, 1, 3, 4, 2, 5] });
}
