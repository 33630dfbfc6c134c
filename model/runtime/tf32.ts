/** TensorFloat-32: products of float32 whose factors an NVIDIA GPU rounds to 11 bits, as ONNX Runtime lets it by default. */
import { Tensor } from 'onnxruntime-node';
import { TF32_OVERRIDE } from '../../platform/nvidia.ts';
import { usageError } from '../../proto/operating-error.ts';
import { GraphBuilder } from '../graph/builder.ts';
import type { Precision } from '../graph/precision.ts';
import { createSession, type SessionOptions } from './session.ts';

/** One in float32 whose last bits TF32 drops. */
const FINE = 1 + 2 ** -12;
/** Large enough for tensor cores. */
const SIZE = 64;

/** Whether a product on the provider keeps all bits of its factors. */
export async function multipliesInFloat32(options: SessionOptions): Promise<boolean> {
  const graph = new GraphBuilder([]);
  const [x, ones] = ['x', 'ones'].map((name) => graph.input(name, 'float32', [SIZE, SIZE]));
  graph.output(graph.node('FusedMatMul', [x!, ones!]), 'y', [SIZE, SIZE]);
  const serialized = { bytes: graph.serialize(), weightsDirectory: graph.weightsDirectory, halfable: [] };
  const session = await createSession(serialized, options, { arena: false, shared: false });
  const matrix = (values: (row: number, column: number) => number): Tensor => {
    const elements = Float32Array.from({ length: SIZE * SIZE }, (_, i) => values(Math.floor(i / SIZE), i % SIZE));
    return new Tensor('float32', elements, [SIZE, SIZE]);
  };
  const { y } = await session.run({ x: matrix(() => FINE), ones: matrix((row, column) => (row === column ? 1 : 0)) });
  await session.release();
  return (y!.data as Float32Array).every((value) => value === FINE);
}

/** @throws OperatingError (usage) where float32 is asked for and the provider multiplies otherwise */
export async function checkFloat32(
  precision: Precision,
  options: SessionOptions,
  check = multipliesInFloat32,
): Promise<void> {
  if (precision === 'tf32' || (await check(options))) return;
  throw usageError(
    `worker.precision ${precision}: provider ${options.provider} rounds the factors of float32 products to TF32 (${TF32_OVERRIDE} is ${process.env[TF32_OVERRIDE] ?? 'not set'}); start with ${TF32_OVERRIDE}=0, or set worker.precision: tf32`,
  );
}
