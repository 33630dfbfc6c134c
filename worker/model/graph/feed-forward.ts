/** The feed-forward sublayer: down(act(gate(x))·up(x)), or down(act(up(x))). */
import type { Activation, FeedForward } from '../architecture.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { linear } from './linear.ts';
import type { ModelGraph } from './model-graph.ts';

/** `x` `[G, N, C]` to `[G, N, C]`. */
export function feedForward(g: ModelGraph, { input, down, activation }: FeedForward, x: Value): Value {
  return linear(g, down, inner(g, input, activation, x));
}

function inner(g: ModelGraph, input: FeedForward['input'], activation: Activation, x: Value): Value {
  const { graph } = g;
  if ('gateUp' in input) {
    const half = input.gateUp.fanOut / 2;
    const [gate, up] = split(graph, linear(g, input.gateUp, x), [half, half]);
    return graph.node('Mul', [activate(graph, activation, gate!), up!]);
  }
  if ('gate' in input)
    return graph.node('Mul', [activate(graph, activation, linear(g, input.gate, x)), linear(g, input.up, x)]);
  return activate(graph, activation, linear(g, input.up, x));
}

/** `x` cut along its last dimension into parts of the given sizes. */
export function split(graph: GraphBuilder, x: Value, sizes: readonly number[]): Value[] {
  return graph.nodeWithOutputs('Split', [x, graph.integers(sizes)], sizes.length, { axis: -1 });
}

function activate(graph: GraphBuilder, activation: Activation, x: Value): Value {
  switch (activation) {
    case 'relu':
      return graph.node('Relu', [x]);
    case 'gelu':
      return graph.node('Gelu', [x], { approximate: 'none' });
    case 'gelu_tanh':
      return graph.node('Gelu', [x], { approximate: 'tanh' });
    case 'silu':
      return graph.node('QuickGelu', [x], { alpha: { float: 1 } });
    case 'quick_gelu':
      return graph.node('QuickGelu', [x], { alpha: { float: 1.702 } });
  }
}
