/** Products with base weights in fewer bits: how far losses and slopes may move, and the graph that a GPU gets. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { InferenceSession } from 'onnxruntime-node';
import { TensorProto_DataType as DataType, ModelProto, type NodeProto } from '../../formats/gen/onnx.ts';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { direction } from '../../kernels/direction.ts';
import { initialAdapter } from '../../kernels/initial-adapter.ts';
import { roundKey, seedKey } from '../../kernels/random-keys.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import { openBaseModel } from '../../model/base-model.ts';
import { headGraph } from '../../model/graph/head.ts';
import { inPrecision, type Precision } from '../../model/graph/precision.ts';
import { trunkGraph } from '../../model/graph/trunk.ts';
import { createForward } from '../../model/runtime/forward.ts';
import { precisionOf } from '../../model/runtime/forward-session.ts';
import { packRows } from '../../model/runtime/packing.ts';
import { checkFloat32, FINE, fineProduct } from '../../model/runtime/tf32.ts';
import { onCpu, openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles, goldenModels, tinyReviews } from '../support/onebyte.ts';

/**
 * Relative, of a loss and of the slopes of three rows. A factor or product of b bits is off by 2^−b at most, of a few hundred in a
 * layer that partly cancel: measured over the families 4e-4, 3e-3 and 4e-4 for losses, and 0.07, 0.13 and 0.024 for slopes, where
 * kinks of relu (opt) add most, and positions that turn nothing (smollm3). A byte rounds by 0.06.
 */
const TOLERANCES = {
  tf32: { loss: 5e-4, slope: 0.1 },
  bfloat16: { loss: 6e-3, slope: 0.2 },
  float16: { loss: 1e-3, slope: 0.04 },
} as const;

describe('the CPU provider in another precision', () => {
  for (const name of goldenModels())
    for (const [precision, tolerance] of Object.entries(TOLERANCES) as [
      keyof typeof TOLERANCES,
      { loss: number; slope: number },
    ][])
      it(`gives losses and slopes near those of float32, and not the same: ${name}, ${precision}`, async () => {
        const { rows, model, ...adapter } = openGolden(join(goldenFiles, 'models', name));
        const direction = adapter.theta.map((_, i) => (i % 3 === 0 ? 1 : -1));
        const measure = async (precision: Precision) => {
          const dual = { precision, tangents: 'float32', signed: false } as const;
          return {
            losses: await withForward(model, adapter, { precision }, (plain) => plain.losses(rows, 1, adapter.theta)),
            slopes: await withForward(model, adapter, dual, (f) => f.slopes(rows, adapter.theta, direction)),
          };
        };
        const [exact, rounded] = [await measure('float32'), await measure(precision)];
        const errors = rounded.losses.map((loss, row) => Math.abs(loss / exact.losses[row]! - 1));
        assert(Math.max(...errors) < tolerance.loss, `losses: ${errors}`);
        const difference = Math.hypot(...rounded.slopes.map((slope, row) => slope - exact.slopes[row]!));
        assert(difference < tolerance.slope * Math.hypot(...exact.slopes), `slopes: ${rounded.slopes}`);
        assert(errors.some((error) => error > 0));
      });
});

/** What reads the product of a linear layer. */
const NEXT: Readonly<Record<string, string>> = {
  q: 'RotaryEmbedding',
  k: 'RotaryEmbedding',
  v: 'Gather',
  o: 'Cast',
  gate: 'QuickGelu',
  up: 'Mul',
  down: 'Cast',
};

describe('a graph in half precision', () => {
  const model = openBaseModel(join(tinyReviews, 'model'));
  const head = model.weights.get(model.architecture.head.name)!.name;
  const llama = openBaseModel(join(goldenFiles, 'models/llama'));

  it('reads stored half-precision weights as they are, but for norms and the head', () => {
    const { bytes, halfable } = trunkGraph(model, undefined, {});
    const { node, initializer } = ModelProto.decode(
      inPrecision(bytes, halfable, { precision: 'bfloat16', emulated: false, head }),
    ).graph!;
    const products = node.filter(
      ({ opType, input }) => opType === 'FusedMatMul' && initializer.some(({ name }) => name === input[1]),
    );
    assert.equal(products.length, 7 * model.architecture.layers.length);
    const made = (value: string): string => node.find((node) => node.output[0] === value)!.opType;
    const used = (value: string): string[] =>
      node.filter(({ input }) => input.includes(value)).map(({ opType }) => opType);
    for (const { input, output } of products) {
      assert.equal(initializer.find(({ name }) => name === input[1])!.dataType, DataType.BFLOAT16);
      // What the gate made goes on in half precision, and all else begins and ends in float32.
      const isDown = input[1]!.includes('down_proj');
      assert.equal(made(input[0]!), isDown ? 'Mul' : 'Cast');
      const [, layer] = /(\w+)_proj/.exec(input[1]!)!;
      assert.deepEqual(used(output[0]!), [NEXT[layer!]]);
    }
    // Three projections read one normalized state: it is cast once.
    assert.equal(new Set(products.map(({ input }) => input[0])).size, 4 * model.architecture.layers.length);
    const { bytes: whole } = headGraph(model, 'nll');
    assert.deepEqual(
      Buffer.from(inPrecision(whole, [], { precision: 'bfloat16', emulated: false, head })),
      Buffer.from(ModelProto.encode(ModelProto.decode(whole)).finish()),
    );
  });

  it("multiplies by the adapter's matrices in it, and adds that to what the weights gave", () => {
    const { layout } = openGolden(join(goldenFiles, 'models/llama'));
    for (const signed of [false, true]) {
      const { bytes, halfable } = trunkGraph(llama, layout, { signed });
      const { node } = ModelProto.decode(inPrecision(bytes, halfable, { precision: 'float16', emulated: false, head }))
        .graph!;
      const made = (value: string | undefined): NodeProto => node.find(({ output }) => output.includes(value!))!;
      // y = x·Wᵀ + (x·Aᵀ)·Bᵀ: the sum and both its terms are halves.
      const sums = node.filter(
        ({ opType, input }) => opType === 'Add' && input.every((value) => value.endsWith('_half')),
      );
      assert.equal(sums.length, layout.modules.length);
      for (const { input } of sums) {
        const [product, expanded] = input.map(made);
        assert.deepEqual([product!.opType, expanded!.opType], ['FusedMatMul', 'FusedMatMul']);
        assert.equal(made(expanded!.input[1]).opType, signed ? 'Reshape' : 'Cast');
      }
    }
  });

  it('gives what its emulation gives, where ONNX Runtime multiplies halves', async () => {
    const graph = trunkGraph(model, undefined, {});
    const rows = [{ ids: [5, 6, 7, 8, 9], labels: [3, 4] }];
    const { feeds } = packRows(rows, model.architecture);
    const hidden = async (emulated: boolean) => {
      const bytes = inPrecision(graph.bytes, graph.halfable, { precision: 'float16', emulated, head });
      const session = await InferenceSession.create(bytes, {
        executionProviders: ['cpu'],
        logSeverityLevel: 3,
        extra: { session: { model_external_initializers_file_folder_path: graph.weightsDirectory } },
      });
      const { hidden } = await session.run(feeds);
      await session.release();
      return hidden!.data as Float32Array;
    };
    const [emulated, real] = [await hidden(true), await hidden(false)];
    // The same roundings of the same float32 sums, but for the order of a sum that rounds the other way: a unit of float16.
    emulated.forEach((value, i) => {
      assert(
        Math.abs(value - real[i]!) < 2 ** -8 * Math.max(1, Math.abs(value)),
        `${i}: ${real[i]}, emulated ${value}`,
      );
    });
  });
});

describe('tangents in float16', () => {
  it('are made along shorter directions, since along whole ones they leave it', async () => {
    const { rows, model: llama } = openGolden(join(goldenFiles, 'models/llama'));
    // Where B is 0 a scale moves no value, but every tangent.
    const modules = llama.linearModules.map((linear) => ({ ...linear, rank: 2, scale: 2 ** 16 }));
    const adapter = { layout: adapterLayout(modules) };
    const theta = initialAdapter(1, modules);
    const [key, elements] = [roundKey(seedKey(1), 0, 0), adapter.layout.elements];
    const z = { signs: await referenceBackend.signs(key, 0, 2, elements), firstBlocks: [0, 0], stripes: 1 };
    const whole = direction(key, 0, elements, 1);
    const slopes = async (precision: Precision, signed: boolean) => {
      const slopes = await withForward(llama, adapter, { precision, tangents: 'float32', signed }, (forward) =>
        forward.slopes(rows, theta, signed ? z : Float32Array.from(whole)),
      );
      return slopes.subarray(0, rows.length);
    };
    assert((await slopes('float16', false)).some((slope) => !Number.isFinite(slope)));
    const [rounded, exact] = [await slopes('float16', true), await slopes('float32', false)];
    const difference = Math.hypot(...rounded.map((slope, row) => slope - exact[row]!));
    assert(difference < TOLERANCES.float16.slope * Math.hypot(...exact), `${rounded}, expected ${exact}`);
  });
});

describe('float32', () => {
  it('is float32 on the CPU', async () => {
    assert.equal(await fineProduct({ provider: 'cpu', threads: 1 }), FINE);
  });
  it('is TF32 in every product, as on an NVIDIA GPU, where the CPU emulates that', async () => {
    const rounding = { precision: 'tf32', head: '' } as const;
    assert.equal(await fineProduct({ provider: 'cpu', threads: 1, rounding }), 1);
  });
  it('is refused where the provider rounds factors, unless that was asked for', async () => {
    const options = { provider: 'cuda', threads: 1 } as const;
    const rounds = async (): Promise<number> => 1;
    await assert.rejects(
      checkFloat32('float32', options, rounds),
      /worker.precision float32: provider cuda rounds .*it makes 1 of 1.000244140625 x 1; .*NVIDIA_TF32_OVERRIDE=0, or set worker.precision: tf32/,
    );
    await checkFloat32('tf32', options, rounds);
  });
});

describe('the precision that is taken unasked', () => {
  it('is half on CUDA, but for short finite steps and 8 bits, and float32 elsewhere', () => {
    const products = { quantize: 'none' } as const;
    assert.equal(precisionOf('cuda', products), 'float16');
    assert.equal(precisionOf('cuda', { ...products, step: 1e-2 }), 'float16');
    assert.equal(precisionOf('cuda', { ...products, step: 1e-3 }), 'float32');
    assert.equal(precisionOf('cuda', { ...products, gradients: true }), 'bfloat16');
    assert.equal(precisionOf('cuda', { quantize: 'int8' }), 'float32');
    assert.equal(precisionOf('cuda', { ...products, step: 1e-3, precision: 'bfloat16' }), 'bfloat16');
    for (const provider of ['cpu', 'webgpu'] as const) assert.equal(precisionOf(provider, products), 'float32');
  });
});

describe('a precision that is not there', () => {
  const model = openBaseModel(join(goldenFiles, 'models/llama'));
  it('is refused by provider', async () => {
    const refused = createForward(model, undefined, { ...onCpu, provider: 'webgpu', precision: 'bfloat16' });
    await assert.rejects(
      refused,
      /worker.precision bfloat16: provider webgpu has float32; set worker.precision: float32, or worker.provider: cuda/,
    );
  });
  it('is refused beside 8 bits', async () => {
    for (const eight of [{ quantize: 'int8' }, { tangents: 'int8' }] as const)
      await assert.rejects(
        createForward(model, undefined, { ...onCpu, ...eight, precision: 'float16' }),
        /worker.precision float16: products in 8 bits/,
      );
  });
});

describe('a device', () => {
  const model = openBaseModel(join(goldenFiles, 'models/llama'));
  it('is one of provider cuda', async () => {
    await assert.rejects(
      createForward(model, undefined, { ...onCpu, device: 1 }),
      /worker.device 1: the provider is cpu, expected cuda/,
    );
  });
  it('is one that the machine has', async () => {
    const refused = createForward(model, undefined, { ...onCpu, provider: 'cuda', device: 63 });
    await assert.rejects(refused, /worker.device 63: this machine has \d+ NVIDIA GPUs?/);
  });
});
