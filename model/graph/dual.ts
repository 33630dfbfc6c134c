/** Values of the graph with what they depend on, and the rules that differentiate them: forward along directions, and in reverse. */
import assert from 'node:assert/strict';
import type { GraphBuilder } from './builder.ts';
import type { Value } from './onnx-parts.ts';

/**
 * A value `[1, …]` of a graph that is differentiated. In a graph without derivatives it is its value `[G, …]` alone.
 *
 * Forward mode: `tangent` `[K, …]` is its exact derivative along each of K directions of θ (a dual number; Baydin et al. 2022,
 * "Gradients without Backpropagation"). Tangents are made in the builder's branch, which runs only when there are directions:
 * an evaluation pays nothing for them.
 *
 * Reverse mode: `terms` say what it is made of, so that `adjoints` can go back from it (Griewank & Walther 2008, chapter 3).
 *
 * No tangent and no terms stand for zero: no trained matrix lies before the value.
 */
export interface Dual {
  readonly value: Value;
  readonly tangent?: Value | undefined;
  /** Empty: a variable, where going back ends. */
  readonly terms?: readonly Term[] | undefined;
}

/** Values that another is made of: `pull` gives from its adjoint what each of theirs has of it, in their order. */
interface Pull {
  readonly xs: readonly Dual[];
  readonly pull: (dy: Value) => readonly Value[];
}

/** The value is one of the parts of `x`, cut along its last dimension. */
interface Cut {
  readonly x: Dual;
  readonly part: number;
}

type Term = Pull | Cut;

/** A map that is linear in a value, dy = push(dx), and its transpose, x̄ = pull(ȳ); without a transpose it is symmetric, like a product element by element. */
type Derivative = readonly [x: Dual, push: (dx: Value) => Value, pull?: (dy: Value) => Value];

/** The chain rule: `value` with its derivatives by all that it is made of. Slopes are made in the same branch as what uses them. */
export function derived(graph: GraphBuilder, value: Value, derivatives: readonly Derivative[]): Dual {
  const tangent = graph.inBranch(() => {
    const pushed = derivatives.flatMap(([{ tangent }, push]) => (tangent === undefined ? [] : [push(tangent)]));
    return sum(graph, pushed);
  });
  const terms = derivatives.flatMap(([x, push, pull = push]) =>
    x.terms ? [{ xs: [x], pull: (dy: Value) => [pull(dy)] }] : [],
  );
  return { value, tangent, terms: terms.length === 0 ? undefined : terms };
}

const sum = (graph: GraphBuilder, values: readonly Value[]): Value | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => graph.node('Add', [sum, value]));

/** f of a value that is linear in it: d f(x) = f(dx). */
export function linearly(graph: GraphBuilder, x: Dual, f: (x: Value) => Value, transpose: (dy: Value) => Value): Dual {
  return derived(graph, f(x.value), [[x, f, transpose]]);
}

/** `x` cut along its last dimension into parts of the given sizes. */
export function split(graph: GraphBuilder, x: Dual, sizes: readonly number[]): Dual[] {
  const parts = (x: Value): Value[] =>
    graph.nodeWithOutputs('Split', [x, graph.integers(sizes)], sizes.length, { axis: -1 });
  const { tangent } = x;
  const tangents = tangent && graph.inBranch(() => parts(tangent));
  return parts(x.value).map((value, part) => ({
    value,
    tangent: tangents?.[part],
    terms: x.terms && [{ x, part }],
  }));
}

/** `xs` laid together along a dimension but the last, of the given sizes. Either all of them have derivatives or none. */
export function together(graph: GraphBuilder, xs: readonly Dual[], sizes: readonly number[], axis: number): Dual {
  const laid = (values: readonly Value[]): Value => graph.node('Concat', values, { axis });
  const tangents = xs.flatMap(({ tangent }) => tangent ?? []);
  const pull = (dy: Value): Value[] =>
    graph.nodeWithOutputs('Split', [dy, graph.integers(sizes)], sizes.length, { axis });
  return {
    value: laid(xs.map(({ value }) => value)),
    tangent: tangents.length === 0 ? undefined : graph.inBranch(() => laid(tangents)),
    terms: xs[0]?.terms && [{ xs, pull }],
  };
}

/** `x` times a number. */
export function scaled(graph: GraphBuilder, x: Dual, factor: number): Dual {
  const times = (x: Value): Value => graph.node('Mul', [x, graph.scalar(factor)]);
  return linearly(graph, x, times, times);
}

export function add(graph: GraphBuilder, a: Dual, b: Dual): Dual {
  const same = (dx: Value): Value => dx;
  return derived(graph, graph.node('Add', [a.value, b.value]), [
    [a, same],
    [b, same],
  ]);
}

/**
 * Reverse mode: the adjoints, ∂L/∂x for all that `y` is made of, from `dy`, that of `y`. Each has its value's shape.
 * Nodes of pulls are made where they are wanted: nothing is made of what no variable lies before.
 */
export function adjoints(graph: GraphBuilder, y: Dual, dy: Value): Map<Dual, Value> {
  const found = new Map([[y, dy]]);
  const parts = new Map<Dual, Value[]>();
  const addUp = (x: Dual, adjoint: Value): void => {
    const others = found.get(x);
    found.set(x, others === undefined ? adjoint : graph.node('Add', [others, adjoint]));
  };
  for (const dual of usersFirst(y)) {
    const back = parts.get(dual);
    if (back !== undefined) {
      assert(!back.includes(undefined!), 'all parts of what is cut are used');
      addUp(dual, graph.node('Concat', back, { axis: -1 }));
    }
    const adjoint = found.get(dual)!;
    for (const term of dual.terms!) {
      if ('pull' in term) {
        const pulled = term.pull(adjoint);
        term.xs.forEach((x, i) => {
          addUp(x, pulled[i]!);
        });
      } else {
        const beside = parts.get(term.x) ?? [];
        beside[term.part] = adjoint;
        parts.set(term.x, beside);
      }
    }
  }
  return found;
}

/** `y` and all it is made of, each behind whatever is made of it. */
function usersFirst(y: Dual): Dual[] {
  const [order, seen] = [[] as Dual[], new Set<Dual>()];
  const visit = (dual: Dual): void => {
    if (seen.has(dual)) return;
    seen.add(dual);
    for (const term of dual.terms!) for (const x of 'pull' in term ? term.xs : [term.x]) visit(x);
    order.push(dual);
  };
  visit(y);
  return order.reverse();
}
