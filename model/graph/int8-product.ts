/**
 * Products of tangents with base weights in 8 bits: each row of the tangents has a scale, made as it comes; each output of the
 * weights has one, made when ONNX Runtime folds the constants of the session. Sums are exact integers.
 */
import type { Linear } from '../architecture.ts';
import { type GraphBuilder, INT8 } from './builder.ts';
import type { Value } from './onnx-parts.ts';

/** Codes run from −127 to 127; those of the tangents are stored with 128 added. */
const LARGEST = 127;
const ZERO_POINT = 128;
/** Takes the place of a largest magnitude of 0, so that 0/0 does not arise. Far below any tangent, far above subnormal numbers. */
const SMALLEST = 1e-30;

/** dx·Wᵀ: `dx` `[K, N, fanIn]` and W to `[K, N, fanOut]`. Products that read the same `dx` share its codes. */
export function int8Product(graph: GraphBuilder, dx: Value, weight: Value, { stored }: Pick<Linear, 'stored'>): Value {
  const [one, zeroPoint] = [graph.scalar(1), graph.byte(ZERO_POINT)];
  const scale = graph.once(`int8 scale ${dx}`, () =>
    scaleFrom(graph, graph.node('ReduceMax', [graph.node('Abs', [dx]), graph.integers([-1])], { keepdims: 1 })),
  );
  const codes = graph.once(`int8 codes ${dx}`, () => {
    const scaled = graph.node('Mul', [dx, graph.node('Reciprocal', [scale])]);
    return graph.node('QuantizeLinear', [scaled, one, zeroPoint]);
  });
  const output = stored === 'out-in' ? 0 : 1;
  const [largest, smallest] = ['ReduceMax', 'ReduceMin'].map((reduce) =>
    graph.node(reduce, [weight, graph.integers([1 - output])], { keepdims: 0 }),
  );
  // Not the magnitudes' maximum: that would hold a second float32 copy of every weight while constants are folded.
  const scales = scaleFrom(graph, graph.node('Max', [largest!, graph.node('Neg', [smallest!])]));
  const weightCodes = graph.node('QuantizeLinear', [weight, scales], { axis: output, output_dtype: INT8 });
  const columns = output === 0 ? graph.node('Transpose', [weightCodes], { perm: [1, 0] }) : weightCodes;
  const product = graph.node('MatMulIntegerToFloat', [codes, columns, one, scales, zeroPoint]);
  return graph.node('Mul', [product, scale]);
}

/** Largest magnitude / 127. */
function scaleFrom(graph: GraphBuilder, largest: Value): Value {
  return graph.node('Div', [graph.node('Max', [largest, graph.scalar(SMALLEST)]), graph.scalar(LARGEST)]);
}
