/**
 * Causal self-attention over packed rows. Projections and rope see the N packed tokens; scores see B lines of T places, each with
 * one row or more and perhaps a rest. The mask hides from a row all but itself.
 */
import type { Attention, Rope } from '../architecture.ts';
import type { Value } from './builder.ts';
import { bilinearly, type Dual, linearly, split, through } from './dual.ts';
import { linear, linears } from './linear.ts';
import type { ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';

/** `x` `[G, N, C]` to `[G, N', C]`, where `places` says which N' tokens are wanted, as places of `[B·T]`. */
export function attention(g: ModelGraph, description: Attention, x: Dual, places: Value): Dual {
  const { graph } = g;
  const { heads, keyValueHeads, headSize, scale, softcap } = description;
  const [q, k, v] = project(g, description, x);
  const shared = heads / keyValueHeads;
  // The heads that share a key stand beside it: [G, B, keyValueHeads, shared, T, D] against [G, B, keyValueHeads, 1, T, D].
  const query = headsFirst(g, positioned(g, description, q!, heads, description.queryNorm), shared, description);
  const key = headsFirst(g, positioned(g, description, k!, keyValueHeads, description.keyNorm), 1, description);
  const attributes = { transB: 1, alpha: { float: scale } };
  let scores = bilinearly(graph, query, key, (q, k) => graph.node('FusedMatMul', [q, k], attributes));
  if (softcap !== undefined) scores = g.softcapped(scores, softcap);
  const mixed = mix(g, scores, g.mask(description.window), headsFirst(g, v!, 1, description));
  const merged = linearly(graph, mixed, (x) => {
    const tokensFirst = graph.node('Transpose', [x], { perm: [0, 1, 4, 2, 3, 5] });
    const flat = graph.node('Reshape', [tokensFirst, graph.integers([0, -1, heads * headSize])]);
    return graph.node('Gather', [flat, places], { axis: 1 });
  });
  return linear(g, description.output, merged);
}

/**
 * y = P·v, P = softmax(S + mask). With M = P∘dS the tangent of P is M − P·Σ M (sums over a row), so
 * dy = M·v − (Σ M)·y + P·dv.
 */
function mix({ graph }: ModelGraph, scores: Dual, mask: Value, v: Dual): Dual {
  const weights = graph.node('Softmax', [graph.node('Add', [scores.value, mask])], { axis: -1 });
  const value = graph.node('MatMul', [weights, v.value]);
  const throughScores = (dS: Value): Value => {
    const changes = graph.node('Mul', [weights, dS]);
    const sums = graph.node('ReduceSum', [changes, graph.integers([-1])], { keepdims: 1 });
    return graph.node('Sub', [graph.node('MatMul', [changes, v.value]), graph.node('Mul', [sums, value])]);
  };
  const tangent = through(graph, [
    [scores, throughScores],
    [v, (dv) => graph.node('MatMul', [weights, dv])],
  ]);
  return { value, tangent };
}

/** q, k and v, each `[G, N, its heads · D]`. */
function project(g: ModelGraph, { projections, heads, keyValueHeads, headSize }: Attention, x: Dual): Dual[] {
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
  x: Dual,
  heads: number,
  norm: Attention['queryNorm'],
): Dual {
  const reshaped = (x: Dual, shape: readonly number[]): Dual =>
    linearly(g.graph, x, (x) => g.graph.node('Reshape', [x, g.graph.integers(shape)]));
  if (norm !== undefined)
    x = reshaped(normalization(g, norm, reshaped(x, [0, 0, heads, headSize])), [0, 0, heads * headSize]);
  return rope === undefined ? x : rotated(g, rope, g.architecture.ropes[rope]!, x, heads, headSize);
}

/** Rotates the first `rotated` elements of each head by the token's position; pairs are element i and i + rotated / 2. */
function rotated(g: ModelGraph, index: number, rope: Rope, x: Dual, heads: number, headSize: number): Dual {
  const { cos, sin } = g.rope(index);
  const partial: Record<string, number> =
    rope.rotated < headSize ? { rotary_embedding_dim: rope.rotated, num_heads: heads } : {};
  // Row n of the tables belongs to packed token n, so the "position" of the operator is n itself, from 0.
  return linearly(g.graph, x, (x) => g.graph.node('RotaryEmbedding', [x, g.graph.integers([0]), cos, sin], partial));
}

/** Packed `[G, N, heads · D]` to padded `[G, B, heads / shared, shared, T, D]`. */
function headsFirst(g: ModelGraph, x: Dual, shared: number, { keyValueHeads, headSize }: Attention): Dual {
  const { graph } = g;
  return linearly(graph, x, (x) => {
    const padded = graph.node('Gather', [x, g.padding()], { axis: 1 });
    const perHead = graph.node('Reshape', [padded, graph.integers([0, 0, 0, keyValueHeads, shared, headSize])]);
    return graph.node('Transpose', [perHead], { perm: [0, 1, 3, 4, 2, 5] });
  });
}
