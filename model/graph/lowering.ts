/**
 * Rewrites a graph for ONNX Runtime's WebGPU provider, which lacks operators that the graph parts use: what a provider lacks runs
 * on the CPU, with a copy to the host before it and one back. Graphs for the providers cpu and cuda stay as they are made.
 */
import assert from 'node:assert/strict';
import { TensorProto_DataType as DataType } from '../../formats/gen/onnx.ts';
import { nodeOf, type Value } from './onnx-parts.ts';
import { type GraphRewriter, numbersOf, type Rule, rewritten } from './rewriter.ts';

/** Buffers that a kernel may have beside one more: WebGPU promises eight in all (maxStorageBuffersPerShaderStage). */
const MOST_BUFFERS = 7;

/** The same function of the same inputs in operators that WebGPU has. */
export function loweredForWebGpu(model: Uint8Array): Uint8Array {
  return rewritten(model, (graph, node) => RULES[node.opType]?.(graph, node) ?? false);
}

const RULES: Readonly<Record<string, Rule>> = {
  /** alpha · a · b, each transposed in its last two dimensions if so said. */
  FusedMatMul(graph, node) {
    const { transA, transB, alpha } = { transA: 0, transB: 0, alpha: 1, ...numbersOf(node) };
    let [a, b] = node.input as [Value, Value];
    if (transA === 1) a = transposed(graph, a);
    if (transB === 1) b = transposed(graph, b);
    // Few columns (a rank, a head) on this side, many in the product.
    if (alpha !== 1) a = graph.node('Mul', [a, graph.scalar(alpha)]);
    return graph.replace(node, 'MatMul', [a, b]);
  },
  /** (x − max x) − log Σ exp(x − max x): no term overflows, and one of them is 1. */
  LogSoftmax(graph, node) {
    const { axis } = { axis: -1, ...numbersOf(node) };
    const [x] = node.input as [Value];
    const reduced = (opType: string, x: Value): Value =>
      graph.node(opType, [x, graph.integers([axis])], { keepdims: 1 });
    const below = graph.node('Sub', [x, reduced('ReduceMax', x)]);
    const sum = reduced('ReduceSum', graph.node('Exp', [below]));
    return graph.replace(node, 'Sub', [below, graph.node('Log', [sum])]);
  },
  /** (x > 0) − (x < 0). */
  Sign(graph, node) {
    const [x] = node.input as [Value];
    const holds = (comparison: string): Value =>
      graph.node('Cast', [graph.node(comparison, [x, graph.scalar(0)])], { to: DataType.FLOAT });
    return graph.replace(node, 'Sub', [holds('Greater'), holds('Less')]);
  },
  /** Without its second output, which ONNX Runtime 1.30 leaves unwritten here: 1/√(mean x² + ε). */
  SimplifiedLayerNormalization(graph, node) {
    const [y, inverse] = node.output;
    if (inverse === undefined) return false;
    const x = node.input[0]!;
    const square = graph.node('Mul', [x, x]);
    const mean = graph.node('ReduceMean', [square, graph.integers([-1])], { keepdims: 1 });
    const { epsilon } = { epsilon: 1e-5, ...numbersOf(node) };
    const root = graph.node('Sqrt', [graph.node('Add', [mean, graph.scalar(epsilon)])]);
    graph.place({ ...node, output: [y!] });
    graph.place(nodeOf('Reciprocal', [root], [inverse]));
    return true;
  },
  /** Parts one by one, where they are more than a kernel can write. */
  Split(graph, node) {
    if (node.output.length <= MOST_BUFFERS) return false;
    const [x, sizes] = node.input as [Value, Value];
    const { axis } = { axis: 0, ...numbersOf(node) };
    let from = 0;
    graph.integersOf(sizes).forEach((size, i) => {
      const range = [from, from + size].map((place) => graph.integers([place]));
      graph.place(nodeOf('Slice', [x, ...range, graph.integers([axis])], [node.output[i]!]));
      from += size;
    });
    return true;
  },
  /** A few at a time, and what comes of that likewise, where they are more than a kernel can read. */
  Concat(graph, node) {
    if (node.input.length <= MOST_BUFFERS) return false;
    const { axis } = { axis: 0, ...numbersOf(node) };
    let parts: readonly Value[] = node.input;
    while (parts.length > MOST_BUFFERS) {
      const groups = Array.from({ length: Math.ceil(parts.length / MOST_BUFFERS) }, (_, i) =>
        parts.slice(i * MOST_BUFFERS, (i + 1) * MOST_BUFFERS),
      );
      parts = groups.map((group) => (group.length === 1 ? group[0]! : graph.node('Concat', group, { axis })));
    }
    return graph.replace(node, 'Concat', parts, { axis });
  },
  /** Rows of a table in half precision, whatever the adapter has of it: of one in float32. */
  Gather(graph, node) {
    const [table, index] = node.input as [Value, Value];
    const dtype = graph.weight(table)?.dataType;
    if (dtype !== DataType.BFLOAT16 && dtype !== DataType.FLOAT16) return false;
    const { axis } = { axis: 0, ...numbersOf(node) };
    return graph.replace(node, 'Gather', [graph.once('Cast', table, { to: DataType.FLOAT }), index], { axis });
  },
};

/** `value` with its last two dimensions exchanged. */
function transposed(graph: GraphRewriter, value: Value): Value {
  const rank = graph.ranks.of(value);
  assert(rank !== undefined && rank >= 2, `${value} is a matrix: of rank ${rank}`);
  const perm = [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];
  return graph.once('Transpose', value, { perm });
}
