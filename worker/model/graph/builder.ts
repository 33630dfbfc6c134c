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
} from '../../../proto/gen/onnx.ts';
import type { WeightTensor } from '../base-model.ts';

/** The name of a value in the graph. */
export type Value = string;

export type Attribute = number | string | readonly number[] | { readonly float: number };

const ELEMENT_TYPES = { float32: DataType.FLOAT, int64: DataType.INT64 } as const;
const WEIGHT_TYPES: Readonly<Record<string, DataType>> = {
  U8: DataType.UINT8,
  F32: DataType.FLOAT,
  F16: DataType.FLOAT16,
  BF16: DataType.BFLOAT16,
};

/** Operators of ONNX Runtime that are not in the ONNX standard. */
const MICROSOFT = 'com.microsoft';
const MICROSOFT_OPERATORS = new Set(['FusedMatMul', 'RotaryEmbedding', 'QuickGelu', 'MatMulNBits']);
const OPSET = 21;
const IR_VERSION = 10;

export class GraphBuilder {
  /** Where the weights' locations are relative to: the nearest directory that holds all their files. */
  readonly weightsDirectory: string;
  private readonly nodes: NodeProto[] = [];
  private readonly initializers = new Map<Value, TensorProto>();
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  private values = 0;

  constructor(weights: Iterable<WeightTensor>) {
    this.weightsDirectory = commonDirectory([...weights].map(({ file }) => dirname(file)));
  }

  /** A graph input. A text in `shape` names a dimension that varies from run to run. */
  input(name: string, type: keyof typeof ELEMENT_TYPES, shape: readonly (number | string)[]): Value {
    this.inputs.push(valueInfo(name, ELEMENT_TYPES[type], shape));
    return name;
  }

  output(value: Value, name: string, shape: readonly (number | string)[]): void {
    this.nodes.push({ input: [value], output: [name], name: '', opType: 'Identity', attribute: [], domain: '' });
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
    this.nodes.push({
      input: [...inputs],
      output,
      name: output[0]!,
      opType,
      attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
      domain: MICROSOFT_OPERATORS.has(opType) ? MICROSOFT : '',
    });
    return output;
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

  /** A float32 vector of `size` equal elements. */
  filled(value: number, size: number): Value {
    return this.constant(`f_${value}_${size}`, DataType.FLOAT, [size], new Float32Array(size).fill(value));
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

  /** A tensor in float32: as stored, or cast (once, when the session is made). */
  weight(weight: WeightTensor): Value {
    const value = this.storedWeight(weight);
    return weight.dtype === 'F32' ? value : this.node('Cast', [value], { to: DataType.FLOAT });
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

  private constant(name: Value, dataType: DataType, dims: number[], data: BigInt64Array | Float32Array): Value {
    this.initializers.set(name, {
      dims,
      dataType,
      name,
      rawData: Buffer.from(data.buffer),
      externalData: [],
      dataLocation: TensorProto_DataLocation.DEFAULT,
    });
    return name;
  }
}

function attributeOf(name: string, value: Attribute): AttributeProto {
  const attribute = { name, ints: [] as number[], f: undefined, i: undefined, s: undefined };
  if (typeof value === 'number') return { ...attribute, i: value, type: AttributeType.INT };
  if (typeof value === 'string') return { ...attribute, s: Buffer.from(value), type: AttributeType.STRING };
  if ('float' in value) return { ...attribute, f: value.float, type: AttributeType.FLOAT };
  return { ...attribute, ints: [...value], type: AttributeType.INTS };
}

function valueInfo(name: string, elemType: DataType, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((size) => ({
    value:
      typeof size === 'number'
        ? { $case: 'dimValue' as const, value: size }
        : { $case: 'dimParam' as const, value: size },
  }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}

function commonDirectory(directories: readonly string[]): string {
  let common = directories[0] ?? '/';
  for (const directory of directories)
    while (common !== dirname(common) && directory !== common && !directory.startsWith(common + sep))
      common = dirname(common);
  return common;
}
