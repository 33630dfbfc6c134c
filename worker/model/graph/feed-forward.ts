/** The feed-forward sublayer: down(act(gate(x))·up(x)), or down(act(up(x))). */
import type { Activation, FeedForward } from '../architecture.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { linear, linears } from './linear.ts';
import type { ModelGraph } from './model-graph.ts';
import { split } from './split.ts';

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
  if ('gate' in input) {
    const [gate, up] = linears(g, [input.gate, input.up], x);
    return graph.node('Mul', [activate(graph, activation, gate!), up!]);
  }
  return activate(graph, activation, linear(g, input.up, x));
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
