/** Whether this CPU multiplies 8-bit integers exactly. */
import { Tensor } from 'onnxruntime-node';
import { GraphBuilder, INT8 } from '../graph/builder.ts';
import { runOnce } from './session.ts';

const LARGEST = 127;
const FAN_IN = 64;

/**
 * True where sums of 8-bit products are exact. x86 without VNNI adds two products in 16 bits: 2·255·127 saturates
 * (ONNX Runtime, "Quantize ONNX models": U8S8 on AVX2).
 */
export async function hasExactInt8(): Promise<boolean> {
  const graph = new GraphBuilder([]);
  const [one, zeroPoint] = [graph.scalar(1), graph.byte(128)];
  const codes = graph.node('QuantizeLinear', [graph.input('x', 'float32', [1, FAN_IN]), one, zeroPoint]);
  const weights = graph.node('QuantizeLinear', [graph.input('w', 'float32', [FAN_IN, 1]), one], { output_dtype: INT8 });
  graph.output(graph.node('MatMulIntegerToFloat', [codes, weights, one, one, zeroPoint]), 'y', [1, 1]);
  const largest = new Float32Array(FAN_IN).fill(LARGEST);
  const feeds = {
    x: new Tensor('float32', largest, [1, FAN_IN]),
    w: new Tensor('float32', largest, [FAN_IN, 1]),
  };
  const { y } = await runOnce(graph, { provider: 'cpu', threads: 1 }, feeds);
  return (y!.data as Float32Array)[0] === FAN_IN * LARGEST * LARGEST;
}
