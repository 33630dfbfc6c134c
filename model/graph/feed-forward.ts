/** The feed-forward sublayer: gated, or a plain activation between two layers. */
import type { Activation, FeedForward } from '../architecture.ts';
import { activate, activationSlope } from './activation.ts';
import { type Dual, derived, split } from './dual.ts';
import { linear, linears } from './linear.ts';
import type { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';

/** `x` `[G, N, C]` to `[G, N, C]`. */
export function feedForward(g: ModelGraph, { input, down, activation }: FeedForward, x: Dual): Dual {
  return linear(g, down, inner(g, input, activation, x));
}

function inner(g: ModelGraph, input: FeedForward['input'], activation: Activation, x: Dual): Dual {
  const { graph } = g;
  if ('gateUp' in input) {
    const half = input.gateUp.fanOut / 2;
    const [gate, up] = split(graph, linear(g, input.gateUp, x), [half, half]);
    return gated(g, activation, gate!, up!);
  }
  if ('gate' in input) {
    const [gate, up] = linears(g, [input.gate, input.up], x);
    return gated(g, activation, gate!, up!);
  }
  const up = linear(g, input.up, x);
  const slope = (): Value => g.readInHalf(activationSlope(graph, activation, up.value));
  return derived(graph, activate(graph, activation, up.value), [[up, (dx) => graph.node('Mul', [slope(), dx])]]);
}

/** act(gate)·up, with tangent act′(gate)·up·dgate + act(gate)·dup. */
function gated(g: ModelGraph, activation: Activation, gate: Dual, up: Dual): Dual {
  const { graph } = g;
  const active = activate(graph, activation, gate.value);
  const slope = (): Value =>
    g.readInHalf(graph.node('Mul', [activationSlope(graph, activation, gate.value), up.value]));
  return derived(graph, graph.node('Mul', [active, up.value]), [
    [gate, (dx) => graph.node('Mul', [slope(), dx])],
    [up, (dx) => graph.node('Mul', [active, dx])],
  ]);
}
