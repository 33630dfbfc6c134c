/** Cutting a value into parts. */
import type { GraphBuilder, Value } from './builder.ts';

/** `x` cut along its last dimension into parts of the given sizes. */
export function split(graph: GraphBuilder, x: Value, sizes: readonly number[]): Value[] {
  return graph.nodeWithOutputs('Split', [x, graph.integers(sizes)], sizes.length, { axis: -1 });
}
