/** Builds an ONNX graph node by node. A value is its name; a weight is a reference into the user's own file. */
import { dirname, relative, sep } from 'node:path';
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  ModelProto,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from '../../formats/gen/onnx.ts';
import type { WeightTensor } from '../base-model.ts';
import {
  type Attribute,
  constantOf,
  FLOAT_OF_ANY_SHAPE,
  MICROSOFT,
  nodeOf,
  type Value,
  valueInfo,
} from './onnx-parts.ts';

const ELEMENT_TYPES = {
  float32: DataType.FLOAT,
  int64: DataType.INT64,
  uint8: DataType.UINT8,
  bool: DataType.BOOL,
} as const;
const WEIGHT_TYPES: Readonly<Record<string, DataType>> = {
  U8: DataType.UINT8,
  F32: DataType.FLOAT,
  F16: DataType.FLOAT16,
  BF16: DataType.BFLOAT16,
};

/** ONNX's numbers of element types, for attributes. */
export const INT8: number = DataType.INT8;
export const INT32: number = DataType.INT32;

const OPSET = 21;
const IR_VERSION = 10;

/** Nodes, and which of their values they give. */
interface Branch {
  readonly nodes: NodeProto[];
  readonly results: readonly Value[];
}

export class GraphBuilder {
  /** Where the weights' locations are relative to: the nearest directory that holds all their files. */
  readonly weightsDirectory: string;
  private readonly nodes: NodeProto[] = [];
  /** Nodes of the branch that is being made. */
  private branch: NodeProto[] = [];
  /** Where the next node goes: one of the two above, or a branch of `choose`. */
  private target = this.nodes;
  private readonly initializers = new Map<Value, TensorProto>();
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  /** Values that several parts of a graph ask for, by their names. */
  private readonly made = new Map<string, Value>();
  private values = 0;
  /** Nodes by their first output. */
  private readonly makers = new Map<Value, NodeProto>();

  constructor(weights: Iterable<WeightTensor>) {
    this.weightsDirectory = commonDirectory([...weights].map(({ file }) => dirname(file)));
  }

  /** A graph input; its name is its value, made at first. A text in `shape` names a dimension that varies from run to run. */
  input(name: string, type: keyof typeof ELEMENT_TYPES, shape: readonly (number | string)[]): Value {
    return this.once(name, () => {
      this.inputs.push(valueInfo(name, ELEMENT_TYPES[type], shape));
      return name;
    });
  }

  output(value: Value, name: string, shape: readonly (number | string)[]): void {
    this.nodes.push(nodeOf('Identity', [value], [name]));
    this.outputs.push(valueInfo(name, DataType.FLOAT, shape));
  }

  /** One node with one output. An empty text is an absent optional input. */
  node(opType: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    return this.nodeWithOutputs(opType, inputs, 1, attributes)[0]!;
  }

  nodeWithOutputs(
    opType: string,
    inputs: readonly Value[],
    outputs: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value[] {
    const output = Array.from({ length: outputs }, () => `v${this.values++}`);
    const node = nodeOf(opType, inputs, output, attributes);
    this.target.push(node);
    this.makers.set(output[0]!, node);
    return output;
  }

  /** Output `index` of the node that gives `value` first: asked for where somebody reads it. */
  furtherOutput(value: Value, index: number): Value {
    const { output } = this.makers.get(value)!;
    while (output.length <= index) output.push(`v${this.values++}`);
    return output[index]!;
  }

  /** The value of that name, made at first. */
  once(name: string, make: () => Value): Value {
    const value = this.made.get(name) ?? make();
    this.made.set(name, value);
    return value;
  }

  /** Makes nodes that belong to the graph itself, whatever branch asks for them: every branch may read what they make. */
  outside<T>(make: () => T): T {
    return this.into(this.nodes, make);
  }

  /** Makes nodes that belong to a branch; `endBranch` gives their result back to the graph. */
  inBranch<T>(make: () => T): T {
    return this.into(this.branch, make);
  }

  /**
   * Ends the branch. Its nodes run where `condition` (bool `[1]`) holds and give `result`; elsewhere there is an empty value in its
   * place. `passed` comes back unchanged, behind the branch: ONNX Runtime may run all that does not wait for a branch before it, and
   * keeps what the branch needs until then.
   */
  endBranch(condition: Value, result: Value, passed: readonly Value[] = []): Value[] {
    const then = { nodes: this.branch, results: [result, ...passed] };
    this.branch = [];
    return this.either(condition, then, { nodes: [], results: [this.nothing(), ...passed] });
  }

  /** The values that `then` makes where `condition` (bool `[1]`) holds, else those that `otherwise` makes: equally many, or empty ones. */
  choose(condition: Value, then: () => readonly Value[], otherwise?: () => readonly Value[]): Value[] {
    const branch = (make: () => readonly Value[]): Branch => {
      const nodes: NodeProto[] = [];
      return { nodes, results: this.into(nodes, make) };
    };
    const first = branch(then);
    return this.either(condition, first, branch(otherwise ?? (() => first.results.map(() => this.nothing()))));
  }

  /** An empty value. */
  nothing(): Value {
    return this.filled(0, 0);
  }

  private either(condition: Value, then: Branch, otherwise: Branch): Value[] {
    const outputs = this.nodeWithOutputs('If', [condition], then.results.length);
    const attribute = (name: string, { nodes, results }: Branch): AttributeProto => {
      // A branch gives values under names of its own.
      const copies = results.map((value, i) => nodeOf('Identity', [value], [`${outputs[i]}_${name}`]));
      const output = outputs.map((value) => ({ name: `${value}_${name}`, type: FLOAT_OF_ANY_SHAPE }));
      const g = { name, node: [...nodes, ...copies], initializer: [], input: [], output };
      return { name, g, ints: [], type: AttributeType.GRAPH };
    };
    this.target.at(-1)!.attribute.push(attribute('then_branch', then), attribute('else_branch', otherwise));
    return outputs;
  }

  private into<T>(nodes: NodeProto[], make: () => T): T {
    const outer = this.target;
    this.target = nodes;
    try {
      return make();
    } finally {
      this.target = outer;
    }
  }

  /** A constant of int64, 1-D. */
  integers(values: readonly number[]): Value {
    const name = `i_${values.join('_')}`;
    return this.constant(name, DataType.INT64, [values.length], BigInt64Array.from(values, BigInt));
  }

  /** A float32 scalar. */
  scalar(value: number): Value {
    return this.constant(`f_${value}`, DataType.FLOAT, [], Float32Array.of(value));
  }

  /** A uint8 scalar. */
  byte(value: number): Value {
    return this.constant(`u_${value}`, DataType.UINT8, [], Uint8Array.of(value));
  }

  /** A float32 vector of `size` equal elements. */
  filled(value: number, size: number): Value {
    return this.constant(`f_${value}_${size}`, DataType.FLOAT, [size], new Float32Array(size).fill(value));
  }

  /** A float32 matrix. */
  matrix(name: Value, rows: number, columns: number, values: Float32Array): Value {
    return this.constant(name, DataType.FLOAT, [rows, columns], values);
  }

  /** A tensor as stored, in its stored dtype. */
  storedWeight(weight: WeightTensor): Value {
    const location = relative(this.weightsDirectory, weight.file).split(sep).join('/');
    this.initializers.set(weight.name, {
      dims: [...weight.shape],
      dataType: WEIGHT_TYPES[weight.dtype]!,
      name: weight.name,
      rawData: Buffer.alloc(0),
      externalData: [
        { key: 'location', value: location },
        { key: 'offset', value: String(weight.offset) },
        { key: 'length', value: String(weight.bytes) },
      ],
      dataLocation: TensorProto_DataLocation.EXTERNAL,
    });
    return weight.name;
  }

  /** A tensor in float32: as stored, or cast (once, when the session is made). Every branch may read it. */
  weight(weight: WeightTensor): Value {
    const value = this.storedWeight(weight);
    return weight.dtype === 'F32' ? value : this.outside(() => this.cast(value));
  }

  /** `value` in float32. */
  cast(value: Value): Value {
    return this.node('Cast', [value], { to: DataType.FLOAT });
  }

  /** The model, serialized. Holds no weights. */
  serialize(): Uint8Array {
    return ModelProto.encode({
      irVersion: IR_VERSION,
      producerName: 'onebyte',
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: MICROSOFT, version: 1 },
      ],
      graph: {
        node: this.nodes,
        name: 'onebyte',
        initializer: [...this.initializers.values()],
        input: this.inputs,
        output: this.outputs,
      },
    }).finish();
  }

  private constant(
    name: Value,
    dataType: DataType,
    dims: number[],
    data: BigInt64Array | Float32Array | Uint8Array,
  ): Value {
    this.initializers.set(name, constantOf(name, dataType, dims, data));
    return name;
  }
}

function commonDirectory(directories: readonly string[]): string {
  let common = directories[0] ?? '/';
  for (const directory of directories)
    while (common !== dirname(common) && directory !== common && !directory.startsWith(common + sep))
      common = dirname(common);
  return common;
}
