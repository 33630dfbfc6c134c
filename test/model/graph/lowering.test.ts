/** The rewriting of graphs for WebGPU: what it leaves, and that it changes no function. Runs on the CPU; provider.test.ts on WebGPU. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { TensorProto_DataType as DataType, ModelProto, type NodeProto } from '../../../formats/gen/onnx.ts';
import { adapterLayout } from '../../../kernels/adapter-layout.ts';
import { openBaseModel } from '../../../model/base-model.ts';
import { GraphBuilder } from '../../../model/graph/builder.ts';
import { headGraph } from '../../../model/graph/head.ts';
import { loweredForWebGpu } from '../../../model/graph/lowering.ts';
import { trunkGraph } from '../../../model/graph/trunk.ts';
import { goldenFiles, goldenModels } from '../../support/onebyte.ts';

/** Operators that the WebGPU provider of ONNX Runtime 1.30 lacks: found by profile, as nodes that ran on the CPU. */
const LACKING = ['FusedMatMul', 'LogSoftmax', 'Sign'];

const HALVES: readonly number[] = [DataType.BFLOAT16, DataType.FLOAT16];

/** All nodes, those of branches too. */
const nodesOf = (nodes: readonly NodeProto[]): NodeProto[] =>
  nodes.flatMap((node) => [node, ...node.attribute.flatMap(({ g }) => (g ? nodesOf(g.node) : []))]);

/** The nodes of all branches at all depths, each branch by itself, the graph's own first. */
const scopesOf = (nodes: readonly NodeProto[]): NodeProto[][] => [
  [...nodes],
  ...nodes.flatMap(({ attribute }) => attribute.flatMap(({ g }) => (g ? scopesOf(g.node) : []))),
];

/** What a graph without weights gives on the CPU. */
async function run(bytes: Uint8Array, feeds: InferenceSession.FeedsType) {
  const session = await InferenceSession.create(bytes, { executionProviders: ['cpu'], logSeverityLevel: 3 });
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

describe('a graph for WebGPU', () => {
  const directories = (['models', 'variations'] as const).flatMap((kind) =>
    goldenModels(kind).map((name) => join(kind, name)),
  );
  directories.push('../../examples/tiny-reviews/model');
  for (const directory of directories)
    it(`has no operator that WebGPU lacks, and transposes each weight once, outside of branches: ${directory}`, () => {
      const model = openBaseModel(join(goldenFiles, directory));
      const modules = model.linearModules.map((linear) => ({ ...linear, rank: 2, scale: 2 }));
      for (const tangents of [undefined, 'float32'] as const) {
        const graphs = [
          trunkGraph(model, adapterLayout(modules), { tangents }),
          headGraph(model, tangents === undefined ? 'nll' : 'slope'),
        ];
        for (const { bytes } of graphs) {
          const { node, initializer } = ModelProto.decode(loweredForWebGpu(bytes)).graph!;
          const nodes = nodesOf(node);
          const lacking = nodes.filter(({ opType }) => LACKING.includes(opType));
          assert.deepEqual(lacking, []);
          // bfloat16 it has nowhere, float16 on some adapters: such weights are cast when the session is made.
          const halves = initializer.filter(({ dataType }) => HALVES.includes(dataType)).map(({ name }) => name);
          const read = nodes.filter(
            ({ opType, input }) => opType !== 'Cast' && input.some((name) => halves.includes(name)),
          );
          assert.deepEqual(read, []);
          const weights = new Set(initializer.map(({ name }) => name));
          for (const { opType, input, output } of node)
            if (opType === 'Cast' && weights.has(input[0]!)) weights.add(output[0]!);
          const transposed = (nodes: readonly NodeProto[]): string[] =>
            nodes.flatMap(({ opType, input }) => (opType === 'Transpose' && weights.has(input[0]!) ? input : []));
          const [graph, ...branches] = scopesOf(node).map(transposed);
          assert.equal(new Set(graph).size, graph!.length);
          assert.deepEqual(branches.flat(), []);
        }
      }
    });

  it('cuts and joins what is more than a kernel has buffers for', async () => {
    const graph = new GraphBuilder([]);
    const sizes = Array.from({ length: 60 }, (_, i) => 1 + (i % 3));
    const total = sizes.reduce((sum, size) => sum + size);
    const parts = graph.nodeWithOutputs(
      'Split',
      [graph.input('x', 'float32', [2, total]), graph.integers(sizes)],
      sizes.length,
      { axis: 1 },
    );
    graph.output(graph.node('Concat', parts.reverse(), { axis: 1 }), 'y', [2, total]);
    const lowered = loweredForWebGpu(graph.serialize());
    for (const { input, output } of ModelProto.decode(lowered).graph!.node) assert(input.length + output.length <= 8);
    const x = new Tensor(
      'float32',
      Float32Array.from({ length: 2 * total }, (_, i) => i),
      [2, total],
    );
    const [before, after] = [await run(graph.serialize(), { x }), await run(lowered, { x })];
    assert.deepEqual(after.y!.data, before.y!.data);
    assert.notDeepEqual(after.y!.data, x.data);
  });

  it('gives what it gave before', async () => {
    const graph = new GraphBuilder([]);
    const [x, y] = ['x', 'y'].map((name) => graph.input(name, 'float32', [2, 3, 4]));
    const both = graph.node('FusedMatMul', [x!, y!], { transA: 1, alpha: { float: 0.5 } });
    const scores = graph.node('FusedMatMul', [x!, y!], { transB: 1, alpha: { float: 40 } });
    graph.output(both, 'both', [2, 4, 4]);
    graph.output(scores, 'scores', [2, 3, 3]);
    graph.output(graph.node('LogSoftmax', [scores], { axis: -1 }), 'logs', [2, 3, 3]);
    graph.output(graph.node('Sign', [graph.node('Relu', [scores])]), 'signs', [2, 3, 3]);
    const attributes = { axis: -1, epsilon: { float: 0.25 } };
    const inputs = [x!, graph.filled(2, 4)];
    const [normed, inverse] = graph.nodeWithOutputs('SimplifiedLayerNormalization', inputs, 2, attributes);
    graph.output(normed!, 'normed', [2, 3, 4]);
    graph.output(inverse!, 'inverse', [2, 3, 1]);
    const numbers = (phase: number): Tensor =>
      new Tensor(
        'float32',
        Float32Array.from({ length: 24 }, (_, i) => Math.sin(i + phase) * 3),
        [2, 3, 4],
      );
    const feeds = { x: numbers(0), y: numbers(0.5) };
    const before = await run(graph.serialize(), feeds);
    const after = await run(loweredForWebGpu(graph.serialize()), feeds);
    for (const name of ['both', 'scores', 'logs', 'signs', 'normed', 'inverse']) {
      const [expected, got] = [before, after].map((outputs) => outputs[name]!.data as Float32Array);
      assert.deepEqual(after[name]!.dims, before[name]!.dims);
      // Scores reach 500, whose last bit is 3e-5: the scale is multiplied before the sum in place of after it.
      expected!.forEach((value, i) => {
        assert(Math.abs(got![i]! - value) < 2e-4, `${name} ${i}: ${got![i]}, expected ${value}`);
      });
    }
  });
});
