/**
 * Rewrites a graph for ONNX Runtime's WebGPU provider, which lacks operators that the graph parts use: what a provider lacks runs
 * on the CPU, with a copy to the host before it and one back. Graphs for the providers cpu and cuda stay as they are made.
 */
import assert from 'node:assert/strict';
import {
  TensorProto_DataType as DataType,
  type GraphProto,
  ModelProto,
  type NodeProto,
} from '../../formats/gen/onnx.ts';
import { type Attribute, constantOf, nodeOf, type Value } from './builder.ts';
import { Ranks } from './ranks.ts';

/** The same function of the same inputs in operators that WebGPU has. */
export function loweredForWebGpu(model: Uint8Array): Uint8Array {
  const decoded = ModelProto.decode(model);
  assert(decoded.graph !== undefined, 'a model has a graph');
  new Lowering(decoded.graph).run();
  return ModelProto.encode(decoded).finish();
}

/** Makes what stands in place of a node. */
type Rule = (lowering: Lowering, node: NodeProto) => void;

const RULES: Readonly<Record<string, Rule>> = {
  /** alpha · a · b, each transposed in its last two dimensions if so said. */
  FusedMatMul(lowering, node) {
    const { transA, transB, alpha } = { transA: 0, transB: 0, alpha: 1, ...numbersOf(node) };
    let [a, b] = node.input as [Value, Value];
    if (transA === 1) a = lowering.transposed(a);
    if (transB === 1) b = lowering.transposed(b);
    // Few columns (a rank, a head) on this side, many in the product.
    if (alpha !== 1) a = lowering.node('Mul', [a, lowering.scalar(alpha)]);
    lowering.replace(node, 'MatMul', [a, b]);
  },
  /** (x − max x) − log Σ exp(x − max x): no term overflows, and one of them is 1. */
  LogSoftmax(lowering, node) {
    const { axis } = { axis: -1, ...numbersOf(node) };
    const [x] = node.input as [Value];
    const reduced = (opType: string, x: Value): Value =>
      lowering.node(opType, [x, lowering.integers([axis])], { keepdims: 1 });
    const below = lowering.node('Sub', [x, reduced('ReduceMax', x)]);
    const sum = reduced('ReduceSum', lowering.node('Exp', [below]));
    lowering.replace(node, 'Sub', [below, lowering.node('Log', [sum])]);
  },
  /** (x > 0) − (x < 0). */
  Sign(lowering, node) {
    const [x] = node.input as [Value];
    const holds = (comparison: string): Value =>
      lowering.node('Cast', [lowering.node(comparison, [x, lowering.scalar(0)])], { to: DataType.FLOAT });
    lowering.replace(node, 'Sub', [holds('Greater'), holds('Less')]);
  },
};

/** Nodes of the graph or of a branch, as they are rewritten, and the transpositions that it holds. */
interface Scope {
  readonly nodes: NodeProto[];
  readonly transposed: Map<Value, Value>;
}

class Lowering {
  private readonly graph: GraphProto;
  private readonly ranks: Ranks;
  /** Weights, and weights in another dtype. */
  private readonly constants: Set<Value>;
  /** The graph, and the branch in it that is being rewritten. */
  private readonly scopes: Scope[] = [];
  private values = 0;

  constructor(graph: GraphProto) {
    this.graph = graph;
    this.ranks = new Ranks(graph);
    this.constants = new Set(graph.initializer.map(({ name }) => name));
  }

  run(): void {
    this.graph.node = this.rewritten(this.graph.node);
  }

  private rewritten(nodes: readonly NodeProto[]): NodeProto[] {
    const scope: Scope = { nodes: [], transposed: new Map() };
    this.scopes.push(scope);
    for (const node of nodes) {
      for (const { g } of node.attribute) if (g) g.node = this.rewritten(g.node);
      const rule = RULES[node.opType];
      if (rule) rule(this, node);
      else scope.nodes.push(node);
      if (this.scopes.length === 1 && node.opType === 'Cast' && this.constants.has(node.input[0]!))
        this.constants.add(node.output[0]!);
    }
    this.scopes.pop();
    return scope.nodes;
  }

  /** One node with one output. */
  node(opType: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    return this.nodeIn(this.scopes.at(-1)!, opType, inputs, attributes);
  }

  /** One node in place of `node`. */
  replace(node: NodeProto, opType: string, inputs: readonly Value[]): void {
    this.scopes.at(-1)!.nodes.push(nodeOf(opType, inputs, node.output));
  }

  /**
   * `value` with its last two dimensions exchanged. That of a weight stands in the graph itself, whoever reads it: ONNX Runtime
   * makes it once, when the session is made, and drops the weight where nothing else reads it.
   */
  transposed(value: Value): Value {
    const scope = this.constants.has(value) ? this.scopes[0]! : this.scopes.at(-1)!;
    const holder = this.scopes.find(({ transposed }) => transposed.has(value)) ?? scope;
    const made =
      holder.transposed.get(value) ?? this.nodeIn(scope, 'Transpose', [value], { perm: this.exchanged(value) });
    holder.transposed.set(value, made);
    return made;
  }

  private exchanged(value: Value): number[] {
    const rank = this.ranks.of(value);
    assert(rank !== undefined && rank >= 2, `${value} is a matrix: of rank ${rank}`);
    return [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];
  }

  private nodeIn(
    scope: Scope,
    opType: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>>,
  ): Value {
    const output = `lowered${this.values++}`;
    scope.nodes.push(nodeOf(opType, inputs, [output], attributes));
    return output;
  }

  scalar(value: number): Value {
    return this.constant(`lowered_f_${value}`, DataType.FLOAT, [], Float32Array.of(value));
  }

  integers(values: readonly number[]): Value {
    return this.constant(
      `lowered_i_${values.join('_')}`,
      DataType.INT64,
      [values.length],
      BigInt64Array.from(values, BigInt),
    );
  }

  private constant(name: Value, type: DataType, dims: number[], data: BigInt64Array | Float32Array): Value {
    if (!this.constants.has(name)) this.graph.initializer.push(constantOf(name, type, dims, data));
    this.constants.add(name);
    return name;
  }
}

/** A node's attributes that are numbers, by name. */
function numbersOf(node: NodeProto): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const { name, f, i } of node.attribute) if ((f ?? i) !== undefined) numbers[name] = (f ?? i)!;
  return numbers;
}
