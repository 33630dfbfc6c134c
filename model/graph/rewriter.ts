/** Rewrites the nodes of a finished graph, those of branches too: what a provider or a precision needs otherwise than it was made. */
import assert from 'node:assert/strict';
import {
  TensorProto_DataType as DataType,
  type GraphProto,
  ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../formats/gen/onnx.ts';
import { type Attribute, constantOf, nodeOf, type Value } from './onnx-parts.ts';
import { Ranks } from './ranks.ts';

type Attributes = Readonly<Record<string, Attribute>>;

/** Makes what stands in place of a node, and says whether it did: a node that is not rewritten stays. */
export type Rule = (graph: GraphRewriter, node: NodeProto) => boolean;

/** The serialized `model` with `rule` applied to all its nodes. */
export function rewritten(model: Uint8Array, rule: Rule): Uint8Array {
  const decoded = ModelProto.decode(model);
  assert(decoded.graph !== undefined, 'a model has a graph');
  new GraphRewriter(decoded.graph, rule).run();
  return ModelProto.encode(decoded).finish();
}

/** Nodes of the graph or of a branch, as they are rewritten, and the values made in it that others may read, by key. */
interface Scope {
  readonly nodes: NodeProto[];
  readonly shared: Map<string, Value>;
}

export class GraphRewriter {
  readonly ranks: Ranks;
  private readonly graph: GraphProto;
  private readonly rule: Rule;
  /** The tensors that values are, as they are stored or in another dtype. */
  private readonly stored = new Map<Value, TensorProto>();
  /** The graph, and the branches in one another that are being rewritten. */
  private readonly scopes: Scope[] = [];
  private values = 0;

  constructor(graph: GraphProto, rule: Rule) {
    this.graph = graph;
    this.rule = rule;
    this.ranks = new Ranks(graph);
    for (const tensor of graph.initializer) this.stored.set(tensor.name, tensor);
  }

  run(): void {
    this.graph.node = this.rewritten(this.graph.node);
  }

  private rewritten(nodes: readonly NodeProto[]): NodeProto[] {
    const scope: Scope = { nodes: [], shared: new Map() };
    this.scopes.push(scope);
    for (const node of nodes) {
      for (const { g } of node.attribute) if (g) g.node = this.rewritten(g.node);
      if (!this.rule(this, node)) scope.nodes.push(node);
      const stored = this.stored.get(node.input[0]!);
      if (this.scopes.length === 1 && node.opType === 'Cast' && stored) this.stored.set(node.output[0]!, stored);
    }
    this.scopes.pop();
    return scope.nodes;
  }

  /** The tensor of the file that `value` is, as stored or in another dtype; undefined where it is made in a pass. */
  weight(value: Value): TensorProto | undefined {
    return this.stored.get(value);
  }

  /** The numbers of a constant that `integers` of a builder made. */
  integersOf(value: Value): number[] {
    const tensor = this.stored.get(value);
    assert(tensor?.dataType === DataType.INT64, `${value} is a constant of integers`);
    const { buffer, byteOffset, length } = Uint8Array.from(tensor.rawData);
    return Array.from(new BigInt64Array(buffer, byteOffset, length / BigInt64Array.BYTES_PER_ELEMENT), Number);
  }

  /** One node with one output. */
  node(opType: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.nodeIn(this.scopes.at(-1)!, opType, inputs, attributes);
  }

  /** Puts a node that has its name and outputs already where the rewriting stands. */
  place(node: NodeProto): void {
    this.scopes.at(-1)!.nodes.push(node);
  }

  /** One node in place of `node`, with its outputs: it was rewritten. */
  replace(node: NodeProto, opType: string, inputs: readonly Value[], attributes: Attributes = {}): true {
    this.place(nodeOf(opType, inputs, node.output, attributes));
    return true;
  }

  /**
   * One node that makes something of `value` alone, made at first. What is made of a weight stands in the graph itself, whatever
   * branch reads it: ONNX Runtime makes it once, when the session is made, and drops the weight where nothing else reads it.
   */
  once(opType: string, value: Value, attributes: Attributes): Value {
    const key = `${opType} ${value} ${JSON.stringify(attributes)}`;
    const known = this.scopes.find(({ shared }) => shared.has(key))?.shared.get(key);
    if (known !== undefined) return known;
    const scope = this.stored.has(value) ? this.scopes[0]! : this.scopes.at(-1)!;
    const made = this.nodeIn(scope, opType, [value], attributes);
    scope.shared.set(key, made);
    const stored = this.stored.get(value);
    if (stored) this.stored.set(made, stored);
    return made;
  }

  private nodeIn(scope: Scope, opType: string, inputs: readonly Value[], attributes: Attributes): Value {
    const output = `w${this.values++}`;
    scope.nodes.push(nodeOf(opType, inputs, [output], attributes));
    return output;
  }

  scalar(value: number): Value {
    return this.constant(`w_f_${value}`, DataType.FLOAT, [], Float32Array.of(value));
  }

  integers(values: readonly number[]): Value {
    const name = `w_i_${values.join('_')}`;
    return this.constant(name, DataType.INT64, [values.length], BigInt64Array.from(values, BigInt));
  }

  private constant(name: Value, type: DataType, dims: number[], data: BigInt64Array | Float32Array): Value {
    if (!this.stored.has(name)) {
      const tensor = constantOf(name, type, dims, data);
      this.graph.initializer.push(tensor);
      this.stored.set(name, tensor);
    }
    return name;
  }
}

/** A node's attributes that are numbers, by name. */
export function numbersOf(node: NodeProto): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const { name, f, i } of node.attribute) if ((f ?? i) !== undefined) numbers[name] = (f ?? i)!;
  return numbers;
}
