/**
 * Causal self-attention over packed rows. Projections and rope see the N packed tokens; scores see B lines of T places, each with
 * one row or more and perhaps a rest. The mask hides from a row all but itself.
 */
import type { Attention, Rope } from '../architecture.ts';
import type { GraphBuilder } from './builder.ts';
import { type Dual, derived, linearly, split } from './dual.ts';
import { linear, linears, scaledProduct } from './linear.ts';
import { type Choice, cacheInputs, type ModelGraph } from './model-graph.ts';
import { normalization } from './normalization.ts';
import type { Value } from './onnx-parts.ts';

/** `x` `[G, N, C]` to `[G, N', C]`: `kept` chooses N' tokens from the places `[B·T]`. */
export function attention(g: ModelGraph, description: Attention, x: Dual, kept: Choice): Dual {
  const { graph } = g;
  const { heads, keyValueHeads, softcap } = description;
  const [q, k, v] = project(g, description, x);
  const shared = heads / keyValueHeads;
  // The queries of all heads that share a key are rows of one product: [G, B, keyValueHeads, shared · T, D] by [G, B, keyValueHeads, T, D].
  const turned = positioned(g, description, q!, heads, description.queryNorm);
  const query = headsFirst(g, turned, shared, description, g.padding());
  const cache = cacheInputs(description);
  const remembered = (x: Dual, input: string): Dual =>
    headsFirst(g, g.remembered(x, input, cache.size), 1, description, g.keyPlaces());
  const key = remembered(positioned(g, description, k!, keyValueHeads, description.keyNorm), cache.key);
  const plain = scoresOf(g, query, key, description);
  const scores = softcap === undefined ? plain : g.softcapped(plain, softcap);
  const mixed = mix(g, scores, g.mask(description.window, shared), remembered(v!, cache.value));
  const merged = linearly(
    graph,
    mixed,
    (x) => kept.of(tokensFirst(graph, x, heads, description)),
    (dy) => perHead(graph, kept.back(dy), shared, description),
  );
  return linear(g, description.output, merged);
}

/** S = scale·q·kᵀ, `[G, B, keyValueHeads, shared · T, T]`. */
function scoresOf(g: ModelGraph, query: Dual, key: Dual, description: Attention): Dual {
  const { graph } = g;
  const scaled = scaledProduct(graph, description.scale);
  const product = (q: Value, k: Value): Value => scaled(q, k, { transB: 1 });
  return derived(graph, product(query.value, key.value), [
    [query, (dq) => product(dq, g.copyInHalf(key.value)), (dS) => scaled(dS, key.value)],
    [key, (dk) => product(g.copyInHalf(query.value), dk), (dS) => scaled(dS, query.value, { transA: 1 })],
  ]);
}

/**
 * y = P·v, P = softmax(S + mask). With M = P∘dS the tangent of P is M − P·Σ M (sums over a row), so
 * dy = M·v − (Σ M)·y + P·dv. In reverse S̄ = P∘(ȳ·vᵀ − Σ ȳ∘y), since Σ P∘(ȳ·vᵀ) = Σ ȳ∘y, and v̄ = Pᵀ·ȳ.
 * A tangent is no difference of two close values, so that of scores may be rounded where scores may not.
 */
function mix(g: ModelGraph, scores: Dual, mask: Value, v: Dual): Dual {
  const { graph } = g;
  const weights = graph.node('Softmax', [graph.node('Add', [scores.value, mask])], { axis: -1 });
  const value = graph.node('MatMul', [weights, v.value]);
  const sums = (x: Value): Value => graph.node('ReduceSum', [x, graph.integers([-1])], { keepdims: 1 });
  const times = (a: Value, b: Value): Value => graph.node('Mul', [a, b]);
  const pushScores = (dS: Value): Value => {
    const changes = times(g.copyInHalf(weights), dS);
    const moved = graph.node('MatMul', [changes, g.copyInHalf(v.value)]);
    return graph.node('Sub', [moved, times(sums(changes), g.copyInHalf(value))]);
  };
  const pullScores = (dy: Value): Value => {
    const along = graph.node('FusedMatMul', [dy, v.value], { transB: 1 });
    return times(weights, graph.node('Sub', [along, sums(times(dy, value))]));
  };
  return derived(graph, value, [
    [scores, pushScores, pullScores],
    [
      v,
      (dv) => graph.node('MatMul', [g.copyInHalf(weights), dv]),
      (dy) => graph.node('FusedMatMul', [weights, dy], { transA: 1 }),
    ],
  ]);
}

/** q, k and v, each `[G, N, its heads · D]`. */
function project(g: ModelGraph, { projections, heads, keyValueHeads, headSize }: Attention, x: Dual): Dual[] {
  if ('qkv' in projections) {
    const [query, keyValue] = [heads * headSize, keyValueHeads * headSize];
    return split(g.graph, linear(g, projections.qkv, x), [query, keyValue, keyValue]);
  }
  return linears(g, [projections.q, projections.k, projections.v], x);
}

/** Normalized, per head or all heads together, where the family does so, then rotated. `[G, N, heads · D]` to the same. */
function positioned(
  g: ModelGraph,
  { headSize, rope }: Attention,
  x: Dual,
  heads: number,
  norm: Attention['queryNorm'],
): Dual {
  const { graph } = g;
  const flat = (x: Value): Value => graph.node('Reshape', [x, graph.integers([0, 0, heads * headSize])]);
  const byHead = (x: Value): Value => graph.node('Reshape', [x, graph.integers([0, 0, heads, headSize])]);
  if (norm?.size === headSize)
    x = linearly(graph, normalization(g, norm, linearly(graph, x, byHead, flat)), flat, byHead);
  else if (norm !== undefined) x = normalization(g, norm, x);
  return rope === undefined ? x : rotated(g, rope, g.architecture.ropes[rope]!, x, heads, headSize);
}

/**
 * Rotates the first `rotated` elements of each head by the token's position; pairs are element i and i + rotated / 2. The transpose
 * turns the other way.
 */
function rotated(g: ModelGraph, index: number, rope: Rope, x: Dual, heads: number, headSize: number): Dual {
  const { graph } = g;
  const { cos, sin } = g.rope(index);
  const partial: Record<string, number> =
    rope.rotated < headSize ? { rotary_embedding_dim: rope.rotated, num_heads: heads } : {};
  // Row n of the tables belongs to packed token n, so the "position" of the operator is n itself, from 0.
  const turn = (x: Value, sin: Value): Value =>
    graph.node('RotaryEmbedding', [x, graph.integers([0]), cos, sin], partial);
  const opposite = (): Value => graph.once(`-${sin}`, () => graph.outside(() => graph.node('Neg', [sin])));
  return linearly(
    graph,
    x,
    (x) => turn(x, sin),
    (dy) => turn(dy, opposite()),
  );
}

/** Packed `[G, N, heads · D]` to `[G, B, heads / shared, shared · T, D]` at `places`. */
function headsFirst({ graph }: ModelGraph, x: Dual, shared: number, description: Attention, places: Choice): Dual {
  return linearly(
    graph,
    x,
    (x) => perHead(graph, places.of(x), shared, description),
    (dy) => places.back(tokensFirst(graph, dy, shared * description.keyValueHeads, description)),
  );
}

/** `[G, B, T, heads · D]` to `[G, B, keyValueHeads, shared · T, D]`. */
function perHead(graph: GraphBuilder, x: Value, shared: number, { keyValueHeads, headSize }: Attention): Value {
  const apart = graph.node('Reshape', [x, graph.integers([0, 0, 0, keyValueHeads * shared, headSize])]);
  const byHead = graph.node('Transpose', [apart], { perm: [0, 1, 3, 2, 4] });
  return shared === 1 ? byHead : graph.node('Reshape', [byHead, graph.integers([0, 0, keyValueHeads, -1, headSize])]);
}

/** `[G, B, keyValueHeads, shared · T, D]` to `[G, B·T, heads · D]`. */
function tokensFirst(graph: GraphBuilder, x: Value, heads: number, { headSize }: Attention): Value {
  const byHead = graph.node('Reshape', [x, graph.integers([0, 0, heads, -1, headSize])]);
  const tokens = graph.node('Transpose', [byHead], { perm: [0, 1, 3, 2, 4] });
  return graph.node('Reshape', [tokens, graph.integers([0, -1, heads * headSize])]);
}
