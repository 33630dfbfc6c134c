/**
 * Passes in fewer bits than float32. In half precision a linear layer multiplies so, with base weights and with the adapter's
 * matrices, and what it gives stays so until something else needs it: through sums of such products, an activation, the product
 * of a gate, the rotation of queries and keys. Tangents are halves from one layer to the next, and so is the gradient of the adapter's
 * matrices until all of it is laid together. Each value is rounded, sums within a
 * product are float32. All other values are float32: the residual stream, norms, scores, softmax, and the head, since a rounded logit
 * would be off by more than two close losses differ. tf32 stands apart: who makes it rounds the factors of every product.
 */
import { TensorProto_DataType as DataType, type NodeProto } from '../../formats/gen/onnx.ts';
import { nodeOf, type Value } from './onnx-parts.ts';
import { type GraphRewriter, rewritten } from './rewriter.ts';

/** tf32: factors of 8 + 10 bits of exponent and fraction, where an NVIDIA GPU multiplies float32 so. */
export type Precision = 'float32' | 'tf32' | 'bfloat16' | 'float16';

/** Magnitudes of float16 end at 65,504, those of bfloat16 where float32's do. */
const TYPES: Readonly<Partial<Record<Precision, DataType>>> = {
  bfloat16: DataType.BFLOAT16,
  float16: DataType.FLOAT16,
};

export const isHalf = (precision: Precision): boolean => TYPES[precision] !== undefined;

/** x·(2¹³ + 1) − (x·(2¹³ + 1) − x) keeps the upper 11 of the 24 bits of x (Veltkamp's splitting). */
const TF32_SPLIT = 2 ** 13 + 1;

export interface PrecisionOptions {
  readonly precision: Precision;
  /** The device computes in float32, and values are rounded to what another one would hold. */
  readonly emulated: boolean;
  /** Name of the stored tensor that stays float32: the head's. */
  readonly head: string;
}

/**
 * The graph in that precision; base weights are held in it, and cast once at most.
 * @param halfable values that may be held in fewer bits: matrices of adapters, their gradient, slopes of activations. A product that
 * gives one is made of factors in fewer bits
 */
export function inPrecision(
  model: Uint8Array,
  halfable: readonly Value[],
  { precision, emulated, head }: PrecisionOptions,
): Uint8Array {
  const type = TYPES[precision];
  if (type !== undefined) {
    const halves = new Halves(type, emulated, head, halfable);
    return rewritten(model, (graph, node) => halves.place(graph, node));
  }
  if (precision === 'float32' || !emulated) return model;
  // There it does so in all products of float32: those of scores, of adapters and of the head too.
  return rewritten(model, (graph, node) => {
    if (!PRODUCTS.has(node.opType)) return false;
    graph.place({ ...node, input: node.input.map((value) => truncated(graph, value)) });
    return true;
  });
}

const PRODUCTS = new Set(['FusedMatMul', 'MatMul']);

/** A stored tensor but the head's; no number that stands in the graph. */
function isBaseWeight(graph: GraphRewriter, value: Value, head: string): boolean {
  const weight = graph.weight(value);
  return weight !== undefined && weight.name !== head && weight.dims.length > 0;
}

function truncated(graph: GraphRewriter, value: Value): Value {
  const large = graph.node('Mul', [value, graph.scalar(TF32_SPLIT)]);
  return graph.node('Sub', [large, graph.node('Sub', [large, value])]);
}

/** Operators that move elements of their first input, or of all, and make no others. */
const MOVES = new Set(['Concat', 'Expand', 'Gather', 'Reshape', 'Slice', 'Split', 'Squeeze', 'Transpose', 'Unsqueeze']);

/** What of a graph is in half precision, node by node. */
class Halves {
  private readonly type: DataType;
  private readonly emulated: boolean;
  private readonly head: string;
  /** Values that a rewritten node gives in half precision, by the name that they had. Emulated: rounded, in float32. */
  private readonly halves = new Map<Value, Value>();
  /** What a product, or a factor of elements, may be: what moving elements makes of such values, and what activations give, too. */
  private readonly halfable: Set<Value>;

  constructor(type: DataType, emulated: boolean, head: string, halfable: readonly Value[]) {
    this.type = type;
    this.emulated = emulated;
    this.head = head;
    this.halfable = new Set(halfable);
  }

  /** A rule of the rewriter. */
  place(graph: GraphRewriter, node: NodeProto): boolean {
    const inputs = this.inputsInHalf(graph, node);
    if (inputs !== undefined) return this.inHalf(graph, node, inputs);
    if (!node.input.some((value) => this.halves.has(value))) return false;
    // A shape is the same in any precision.
    const read = (value: Value): Value =>
      node.opType === 'Shape' ? this.halves.get(value)! : this.whole(graph, value);
    graph.place({ ...node, input: node.input.map(read) });
    return true;
  }

  /** Which inputs of `node` are read in half precision; undefined where it stays in float32. */
  private inputsInHalf(graph: GraphRewriter, { opType, input, output }: NodeProto): readonly number[] | undefined {
    const first = input[0]!;
    const isHalf = (value: Value): boolean => this.halves.has(value);
    const isMade = (value: Value): boolean => isHalf(value) || this.halfable.has(value);
    const isRead = (value: Value): boolean => this.halfable.has(value) || isBaseWeight(graph, value, this.head);
    const all = [...input.keys()];
    if (PRODUCTS.has(opType)) return input.some(isRead) || this.halfable.has(output[0]!) ? all : undefined;
    if (MOVES.has(opType)) {
      const moved = opType === 'Concat' ? input : [first];
      const areMade = moved.every((value) => this.halfable.has(value));
      if (areMade) for (const value of output) this.halfable.add(value);
      return areMade || moved.every(isHalf) ? [...moved.keys()] : undefined;
    }
    const areHalves = input.every((value) => isHalf(value) || isRead(value));
    switch (opType) {
      case 'Gelu':
      case 'QuickGelu':
      case 'Relu':
        if (isHalf(first)) this.halfable.add(output[0]!);
        return isHalf(first) ? [0] : undefined;
      case 'RotaryEmbedding': // x, position, cos, sin
        return isHalf(first) ? [0, 2, 3] : undefined;
      case 'ReduceMean':
      case 'ReduceSum':
        return isMade(first) ? [0] : undefined;
      case 'Add':
        return areHalves && input.some(isHalf) ? all : undefined;
      case 'Sub':
        return input.every(isMade) ? all : undefined;
      case 'Mul':
        return areHalves && input.some((value) => this.halfable.has(value)) ? all : undefined;
      default:
        return undefined;
    }
  }

  /** `node` with those of its inputs and all outputs in half precision. */
  private inHalf(graph: GraphRewriter, node: NodeProto, inputs: readonly number[]): true {
    const input = node.input.map((value, i) => (inputs.includes(i) ? this.half(graph, value) : value));
    const output = node.output.map((value) => `${value}_half`);
    const rounds = this.emulated && !MOVES.has(node.opType);
    const given = rounds ? output.map((value) => `${value}_exact`) : output;
    graph.place({ ...node, name: given[0]!, input, output: given });
    node.output.forEach((value, i) => {
      if (rounds) {
        const half = graph.node('Cast', [given[i]!], { to: this.type });
        graph.place(nodeOf('Cast', [half], [output[i]!], { to: DataType.FLOAT }));
      }
      this.halves.set(value, output[i]!);
    });
    return true;
  }

  /** `value` in half precision: a weight that is stored so as it is, made else once a session, any other value once a pass. */
  private half(graph: GraphRewriter, value: Value): Value {
    const known = this.halves.get(value);
    if (known !== undefined) return known;
    const weight = graph.weight(value);
    const source = weight?.name ?? value;
    const half = weight?.dataType === this.type ? source : graph.once('Cast', source, { to: this.type });
    return this.emulated ? graph.once('Cast', half, { to: DataType.FLOAT }) : half;
  }

  private whole(graph: GraphRewriter, value: Value): Value {
    const half = this.halves.get(value);
    if (half === undefined) return value;
    return this.emulated ? half : graph.once('Cast', half, { to: DataType.FLOAT });
  }
}
