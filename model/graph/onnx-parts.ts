/** Nodes, tensors and types of an ONNX graph, as those who build or rewrite one make them. */
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from '../../formats/gen/onnx.ts';

/** The name of a value in the graph. */
export type Value = string;

export type Attribute = number | string | readonly number[] | { readonly float: number };

/** Operators of ONNX Runtime that are not in the ONNX standard. */
export const MICROSOFT = 'com.microsoft';
const MICROSOFT_OPERATORS = new Set([
  'FusedMatMul',
  'RotaryEmbedding',
  'QuickGelu',
  'MatMulNBits',
  'MatMulIntegerToFloat',
]);

/** A tensor whose data lie in the graph. */
export function constantOf(
  name: Value,
  dataType: DataType,
  dims: number[],
  data: BigInt64Array | Float32Array | Uint8Array,
): TensorProto {
  const rawData = Buffer.from(data.buffer);
  return { dims, dataType, name, rawData, externalData: [], dataLocation: TensorProto_DataLocation.DEFAULT };
}

export function nodeOf(
  opType: string,
  input: readonly Value[],
  output: readonly Value[],
  attributes: Readonly<Record<string, Attribute>> = {},
): NodeProto {
  return {
    input: [...input],
    output: [...output],
    name: output[0]!,
    opType,
    attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
    domain: MICROSOFT_OPERATORS.has(opType) ? MICROSOFT : '',
  };
}

function attributeOf(name: string, value: Attribute): AttributeProto {
  const attribute = { name, ints: [] as number[], f: undefined, i: undefined, s: undefined };
  if (typeof value === 'number') return { ...attribute, i: value, type: AttributeType.INT };
  if (typeof value === 'string') return { ...attribute, s: Buffer.from(value), type: AttributeType.STRING };
  // What float32 cannot hold is infinite, as it is to torch.
  if ('float' in value) return { ...attribute, f: Math.fround(value.float), type: AttributeType.FLOAT };
  return { ...attribute, ints: [...value], type: AttributeType.INTS };
}

export const FLOAT_OF_ANY_SHAPE = { tensorType: { elemType: DataType.FLOAT, shape: undefined } };

export function valueInfo(name: string, elemType: DataType, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((size) => ({
    value:
      typeof size === 'number'
        ? { $case: 'dimValue' as const, value: size }
        : { $case: 'dimParam' as const, value: size },
  }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}
