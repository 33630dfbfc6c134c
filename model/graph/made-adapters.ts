/**
 * Adapters and directions that the graph makes of sign bits, on the device: of a direction 1/32 of the bytes travels that its
 * float32 elements take, and θ once for all adapters of a run.
 */
import type { AdapterLayout } from '../../kernels/adapter-layout.ts';
import { BLOCK, blocksOf } from '../../kernels/direction.ts';
import { type GraphBuilder, INT32 } from './builder.ts';
import type { ModelGraph } from './model-graph.ts';
import type { Value } from './onnx-parts.ts';

/** Names of the inputs: θ in blocks, and what `withSigns` reads. */
export const THETA = 'theta';
export const SIGNS = 'signs';
export const DIRECTION_OF = 'directionOf';
export const STEPS = 'steps';

/** The matrices of a layout, by their places in its tensors. */
export type Matrices = readonly Value[];

/** θ, input `[1, blocks, 64]` with zeros behind its d elements, as matrices `[1, …]`. */
export function thetaMatrices(g: ModelGraph, layout: AdapterLayout): Matrices {
  return matricesOf(g, layout, thetaInput(g.graph, layout));
}

/** θ + step·z for G adapters, as matrices `[G, …]`; inputs: theta and those of `signedSteps`. */
export function perturbedMatrices(g: ModelGraph, layout: AdapterLayout): Matrices {
  const { graph } = g;
  return matricesOf(g, layout, graph.node('Add', [thetaInput(graph, layout), signedSteps(graph, layout, 'G')]));
}

/** step·z for K directions, as matrices `[K, …]`. */
export function directionMatrices(g: ModelGraph, layout: AdapterLayout): Matrices {
  return matricesOf(g, layout, signedSteps(g.graph, layout, 'K'));
}

const thetaInput = (graph: GraphBuilder, { elements }: AdapterLayout): Value =>
  graph.input(THETA, 'float32', [1, blocksOf(elements), BLOCK]);

/**
 * step·z, `[count, blocks, 64]`. Inputs: signs, bytes `[directions, blocks · 8]` (`Backend.signs`); directionOf `[count]`, which of
 * them each has; steps `[count, blocks or 1, 1]`, 0 in blocks that no stripe uses.
 */
function signedSteps(graph: GraphBuilder, { elements }: AdapterLayout, count: 'G' | 'K'): Value {
  const blocks = blocksOf(elements);
  const signs = graph.input(SIGNS, 'uint8', ['directions', (blocks * BLOCK) / 8]);
  const bytes = graph.node('Gather', [signs, graph.input(DIRECTION_OF, 'int64', [count])], { axis: 0 });
  // CUDA shifts no bits: the eight signs of a byte are a row of a table.
  const looked = graph.node('Gather', [signTable(graph), graph.node('Cast', [bytes], { to: INT32 })], { axis: 0 });
  const z = graph.node('Reshape', [looked, graph.integers([0, blocks, BLOCK])]);
  return graph.node('Mul', [z, graph.input(STEPS, 'float32', [count, 'stepBlocks', 1])]);
}

/** `[256, 8]`: +1 where the byte has a 0, −1 where it has a 1. */
const signTable = (graph: GraphBuilder): Value =>
  graph.matrix(
    'signs of a byte',
    256,
    8,
    Float32Array.from({ length: 2048 }, (_, i) => (((i >> 3) >> (i & 7)) & 1 ? -1 : 1)),
  );

/** `[count, blocks, 64]` cut into the layout's matrices. */
function matricesOf(g: ModelGraph, { tensors, elements }: AdapterLayout, values: Value): Matrices {
  const { graph } = g;
  // In units that all have whole: ONNX Runtime keeps a number for each place of the axis that it cuts.
  const unit = tensors.reduce((unit, { elements }) => greatestCommonDivisor(unit, elements), BLOCK);
  const rest = blocksOf(elements) * BLOCK - elements;
  const sizes = [...tensors.map(({ elements }) => elements), ...(rest > 0 ? [rest] : [])].map((size) => size / unit);
  const units = graph.node('Reshape', [
    g.readInHalf(values),
    graph.integers([0, sizes.reduce((sum, size) => sum + size), unit]),
  ]);
  const parts = graph.nodeWithOutputs('Split', [units, graph.integers(sizes)], sizes.length, { axis: 1 });
  return tensors.map(({ shape }, i) => graph.node('Reshape', [parts[i]!, graph.integers([0, ...shape])]));
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
