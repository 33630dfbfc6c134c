/**
 * Products with base weights in fewer bits than float32: both factors are rounded, sums are float32, and the product is rounded
 * where a device gives it so. All else stays float32: the residual stream, norms, softmax, the adapter's own products, and the
 * head, since a rounded logit would be off by more than two close losses differ.
 */
import { TensorProto_DataType as DataType } from '../../formats/gen/onnx.ts';
import type { Value } from './builder.ts';
import { type GraphRewriter, rewritten } from './rewriter.ts';

/** tf32: factors of 8 + 10 bits of exponent and fraction, where an NVIDIA GPU multiplies float32 so. */
export type Precision = 'float32' | 'tf32' | 'bfloat16' | 'float16';

/** Magnitudes of float16 end at 65,504, those of bfloat16 where float32's do. */
const TYPES: Readonly<Partial<Record<Precision, DataType>>> = {
  bfloat16: DataType.BFLOAT16,
  float16: DataType.FLOAT16,
};

/** x·(2¹³ + 1) − (x·(2¹³ + 1) − x) keeps the upper 11 of the 24 bits of x (Veltkamp's splitting). */
const TF32_SPLIT = 2 ** 13 + 1;

export interface PrecisionOptions {
  readonly precision: Precision;
  /** The device computes in float32, and operands and products are rounded to what another one would hold. */
  readonly emulated: boolean;
  /** Name of the stored tensor that stays float32: the head's. */
  readonly head: string;
}

/** The graph with the products of base weights in that precision; base weights are held in it, and cast once at most. */
export function inPrecision(model: Uint8Array, { precision, emulated, head }: PrecisionOptions): Uint8Array {
  const type = TYPES[precision];
  if (precision === 'float32' || (type === undefined && !emulated)) return model;
  return rewritten(model, (graph, node) => {
    if (node.opType !== 'FusedMatMul' && node.opType !== 'MatMul') return false;
    const factors = node.input.slice(0, 2);
    const weights = factors.flatMap((value) => graph.weight(value) ?? []);
    if (weights.length === 0 || weights.some(({ name }) => name === head)) return false;
    if (type === undefined) graph.place({ ...node, input: factors.map((value) => truncated(graph, value)) });
    else {
      const rounded = factors.map((value) => halved(graph, value, type));
      const input = emulated ? rounded.map((value) => widened(graph, value)) : rounded;
      const product = `${node.output[0]!}_product`;
      graph.place({ ...node, name: product, input, output: [product] });
      const half = emulated ? graph.node('Cast', [product], { to: type }) : product;
      graph.replace(node, 'Cast', [half], { to: DataType.FLOAT });
    }
    return true;
  });
}

/** `value` in the half type: a weight that is stored in it as it is, made else once a session, any other value once a pass. */
function halved(graph: GraphRewriter, value: Value, to: DataType): Value {
  const weight = graph.weight(value);
  if (weight === undefined) return graph.once('Cast', value, { to });
  return weight.dataType === to ? weight.name : graph.once('Cast', weight.name, { to });
}

const widened = (graph: GraphRewriter, value: Value): Value => graph.once('Cast', value, { to: DataType.FLOAT });

function truncated(graph: GraphRewriter, value: Value): Value {
  const large = graph.node('Mul', [value, graph.scalar(TF32_SPLIT)]);
  return graph.node('Sub', [large, graph.node('Sub', [large, value])]);
}
