/** Forward-mode differentiation: values of the graph with their derivatives along K directions, and the rules that join them. */
import type { GraphBuilder, Value } from './builder.ts';

/**
 * A value `[1, …]` with its tangent `[K, …]`, its exact derivative along each of K directions of θ (a dual number; Baydin et al.
 * 2022, "Gradients without Backpropagation"). No tangent stands for zero: no trained matrix lies before the value. In a graph
 * without directions no value has one, and values are `[G, …]`.
 *
 * Tangents are made in the builder's branch, which runs only when there are directions: an evaluation pays nothing for them.
 */
export interface Dual {
  readonly value: Value;
  readonly tangent?: Value | undefined;
}

/** f of a value that is linear in it: d f(x) = f(dx). */
export function linearly(graph: GraphBuilder, x: Dual, f: (x: Value) => Value): Dual {
  return { value: f(x.value), tangent: through(graph, [[x, f]]) };
}

/** f linear in each of two values: d f(a, b) = f(da, b) + f(a, db). */
export function bilinearly(graph: GraphBuilder, a: Dual, b: Dual, f: (a: Value, b: Value) => Value): Dual {
  const value = f(a.value, b.value);
  const tangent = through(graph, [
    [a, (da) => f(da, b.value)],
    [b, (db) => f(a.value, db)],
  ]);
  return { value, tangent };
}

/** `x` cut along its last dimension into parts of the given sizes. */
export function split(graph: GraphBuilder, { value, tangent }: Dual, sizes: readonly number[]): Dual[] {
  const parts = (x: Value): Value[] =>
    graph.nodeWithOutputs('Split', [x, graph.integers(sizes)], sizes.length, { axis: -1 });
  const values = parts(value);
  const tangents = tangent && graph.inBranch(() => parts(tangent));
  return values.map((part, i) => ({ value: part, tangent: tangents?.[i] }));
}

export function add(graph: GraphBuilder, a: Dual, b: Dual): Dual {
  const same = (dx: Value): Value => dx;
  return {
    value: graph.node('Add', [a.value, b.value]),
    tangent: through(graph, [
      [a, same],
      [b, same],
    ]),
  };
}

/**
 * The chain rule: Σ term(dx) over the values that have a tangent; undefined where none has one. The nodes are made in the
 * branch of the tangents, those of slopes too.
 */
export function through(
  graph: GraphBuilder,
  terms: readonly (readonly [x: Dual, term: (dx: Value) => Value])[],
): Value | undefined {
  return graph.inBranch(() => {
    const [first, ...others] = terms.flatMap(([{ tangent }, term]) => (tangent === undefined ? [] : [term(tangent)]));
    return others.reduce((sum, term) => sum && graph.node('Add', [sum, term]), first);
  });
}
