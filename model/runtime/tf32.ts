/** TensorFloat-32: products of float32 whose factors an NVIDIA GPU rounds to 11 bits, as ONNX Runtime lets it by default. */
import { Tensor } from 'onnxruntime-node';
import { TF32_OVERRIDE } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import { GraphBuilder } from '../graph/builder.ts';
import type { Precision } from '../graph/precision.ts';
import { runOnce, type SessionOptions } from './session.ts';

/** One in float32 whose last bits TF32 drops. */
export const FINE = 1 + 2 ** -12;
/** Large enough for tensor cores. */
const SIZE = 64;

/** What the provider makes of FINE times one: FINE where a product keeps all bits of its factors. */
export async function fineProduct(options: SessionOptions): Promise<number> {
  const graph = new GraphBuilder([]);
  const [x, ones] = ['x', 'ones'].map((name) => graph.input(name, 'float32', [SIZE, SIZE]));
  graph.output(graph.node('FusedMatMul', [x!, ones!]), 'y', [SIZE, SIZE]);
  const matrix = (values: (row: number, column: number) => number): Tensor => {
    const elements = Float32Array.from({ length: SIZE * SIZE }, (_, i) => values(Math.floor(i / SIZE), i % SIZE));
    return new Tensor('float32', elements, [SIZE, SIZE]);
  };
  const feeds = { x: matrix(() => FINE), ones: matrix((row, column) => (row === column ? 1 : 0)) };
  const { y } = await runOnce(graph, options, feeds);
  return (y!.data as Float32Array).find((value) => value !== FINE) ?? FINE;
}

/** @throws OperatingError (usage) where float32 is asked for and the provider multiplies otherwise */
export async function checkFloat32(
  precision: Precision,
  options: SessionOptions,
  product = fineProduct,
): Promise<void> {
  const made = precision === 'tf32' ? FINE : await product(options);
  if (made === FINE) return;
  throw usageError(
    `worker.precision ${precision}: provider ${options.provider} rounds the factors of float32 products to TF32 (it makes ${made} of ${FINE} x 1; ${TF32_OVERRIDE} is ${process.env[TF32_OVERRIDE] ?? 'not set'}); start with ${TF32_OVERRIDE}=0, or set worker.precision: tf32`,
  );
}
