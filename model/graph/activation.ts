/** The activation functions, each beside its slope. */
import type { Activation } from '../architecture.ts';
import type { GraphBuilder } from './builder.ts';
import type { Value } from './onnx-parts.ts';

const QUICK_GELU_ALPHA = 1.702;
/** gelu_tanh: x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))). */
const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

export function activate(graph: GraphBuilder, activation: Activation, x: Value): Value {
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
      return graph.node('QuickGelu', [x], { alpha: { float: QUICK_GELU_ALPHA } });
  }
}

/** The derivative of the activation at `x`, element by element. */
export function activationSlope(graph: GraphBuilder, activation: Activation, x: Value): Value {
  const { plus, times, scaled } = arithmetic(graph);
  switch (activation) {
    case 'relu':
      return graph.node('Sign', [graph.node('Relu', [x])]);
    case 'gelu': {
      // Φ(x) + x·φ(x), the distribution and density of the standard normal.
      const distribution = plus(scaled(graph.node('Erf', [scaled(x, Math.SQRT1_2)]), 0.5), 0.5);
      const density = scaled(graph.node('Exp', [scaled(times(x, x), -0.5)]), 1 / Math.sqrt(2 * Math.PI));
      return graph.node('Add', [distribution, times(x, density)]);
    }
    case 'gelu_tanh': {
      const square = times(x, x);
      const inner = times(x, plus(scaled(square, SQRT_2_OVER_PI * CUBIC), SQRT_2_OVER_PI));
      const innerSlope = plus(scaled(square, 3 * SQRT_2_OVER_PI * CUBIC), SQRT_2_OVER_PI);
      const tanh = graph.node('Tanh', [inner]);
      const tanhSlope = graph.node('Sub', [graph.scalar(1), times(tanh, tanh)]);
      return scaled(plus(graph.node('Add', [tanh, times(times(x, tanhSlope), innerSlope)]), 1), 0.5);
    }
    case 'silu':
      return quickGeluSlope(graph, x, 1);
    case 'quick_gelu':
      return quickGeluSlope(graph, x, QUICK_GELU_ALPHA);
  }
}

/** The derivative of x·σ(αx): σ·(1 + αx·(1 − σ)). */
function quickGeluSlope(graph: GraphBuilder, x: Value, alpha: number): Value {
  const { plus, times, scaled } = arithmetic(graph);
  const argument = alpha === 1 ? x : scaled(x, alpha);
  const sigmoid = graph.node('Sigmoid', [argument]);
  const rest = graph.node('Sub', [graph.scalar(1), sigmoid]);
  return times(sigmoid, plus(times(argument, rest), 1));
}

function arithmetic(graph: GraphBuilder) {
  return {
    plus: (x: Value, constant: number) => graph.node('Add', [x, graph.scalar(constant)]),
    scaled: (x: Value, factor: number) => graph.node('Mul', [x, graph.scalar(factor)]),
    times: (x: Value, y: Value) => graph.node('Mul', [x, y]),
  };
}
