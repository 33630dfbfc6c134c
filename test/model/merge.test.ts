/** Merged directories against W + scale · B·A computed here, element by element. */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type FloatDtype, fromFloat32, toFloat32 } from '../../formats/float-formats.ts';
import { readPeftAdapter, writePeftAdapter } from '../../formats/peft-adapter.ts';
import { openSafetensors } from '../../formats/safetensors.ts';
import { readFloat32 } from '../../formats/safetensors-data.ts';
import { writeSafetensors } from '../../formats/safetensors-writer.ts';
import { openBaseModel } from '../../model/base-model.ts';
import { type MergeableModel, mergeAdapter } from '../../model/merge.ts';
import { createForward } from '../../model/runtime/forward.ts';
import type { LinearModule } from '../../proto/adapter.ts';
import { onCpu, rowOf } from '../support/golden-models.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MODELS = join(goldenFiles, 'models/');

/** A model directory and what its adapter adapts, found from the files alone. `prefix` is left out in the model's file. */
function modelOf(directory: string, adapter: string, fanInFanOut: boolean, prefix = ''): MergeableModel {
  const { tensors } = openSafetensors(join(adapter, 'adapter_model.safetensors'));
  const weights = new Map<string, { name: string; file: string }>();
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.safetensors')))
    for (const name of openSafetensors(join(directory, file)).tensors.keys())
      weights.set(prefix + name, { name, file: realpathSync(join(directory, file)) });
  const linearModules: LinearModule[] = [...tensors].flatMap(([key, { shape }]) => {
    const name = /^base_model\.model\.(.*)\.lora_A\.weight$/.exec(key)?.[1];
    if (name === undefined) return [];
    return [{ name, fanIn: shape[1]!, fanOut: tensors.get(key.replace('lora_A', 'lora_B'))!.shape[0]! }];
  });
  return { directory, linearModules, fanInFanOut, weights };
}

function read(directory: string, file = 'model.safetensors'): Map<string, Float32Array> {
  const opened = openSafetensors(join(directory, file));
  return new Map([...opened.tensors].map(([name, tensor]) => [name, readFloat32(opened, name, tensor)]));
}

/** W + scale · B·A in float64, before any rounding. */
function expected(model: MergeableModel, adapter: string, before: Map<string, Float32Array>): Map<string, number[]> {
  const { description, matrices } = readPeftAdapter(adapter, model.linearModules);
  let offset = 0;
  const result = new Map<string, number[]>();
  for (const { name, rank, fanIn, fanOut, scale } of description.modules) {
    const { name: stored } = model.weights.get(`${name}.weight`)!;
    const base = before.get(stored)!;
    result.set(
      stored,
      Array.from(base, (w, i) => {
        const [out, into] = model.fanInFanOut
          ? [i % fanOut, Math.floor(i / fanOut)]
          : [Math.floor(i / fanIn), i % fanIn];
        let sum = 0;
        for (let r = 0; r < rank; r++)
          sum += matrices[offset + rank * fanIn + out * rank + r]! * matrices[offset + r * fanIn + into]!;
        return w + scale * sum;
      }),
    );
    offset += rank * (fanIn + fanOut);
  }
  return result;
}

/** The fixture's model with its weights in `dtype`, in two shards where `shards`. */
function converted(fixture: string, dtype: FloatDtype, names = (name: string) => name): string {
  const directory = temporaryDirectory();
  const opened = openSafetensors(join(MODELS, fixture, 'model.safetensors'));
  const tensors = [...opened.tensors].map(([name, tensor]) => ({
    name: names(name),
    dtype,
    shape: tensor.shape,
    chunks: () => [fromFloat32(dtype, readFloat32(opened, name, tensor))],
  }));
  const half = tensors.length >> 1;
  writeSafetensors(join(directory, 'model-00001-of-00002.safetensors'), tensors.slice(0, half), { format: 'pt' });
  writeSafetensors(join(directory, 'model-00002-of-00002.safetensors'), tensors.slice(half));
  for (const file of ['config.json', 'tokenizer.json'])
    copyFileSync(join(MODELS, fixture, file), join(directory, file));
  return directory;
}

describe('a merged directory', () => {
  for (const [fixture, fanInFanOut] of [
    ['llama', false],
    ['phi3', false],
    ['gpt2', true],
  ] as const)
    it(`has W + scale · B·A in the adapted layers of ${fixture}, and nothing else changed`, () => {
      const directory = join(MODELS, fixture);
      const adapter = join(directory, 'adapter');
      const out = join(temporaryDirectory(), 'made', 'out');
      const model = modelOf(directory, adapter, fanInFanOut);
      const before = read(directory);
      const wanted = expected(model, adapter, before);
      const { merged, leftOut } = mergeAdapter(model, adapter, out);
      assert.equal(merged, wanted.size);
      assert.deepEqual(leftOut, ['adapter']);
      const after = read(out);
      assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort());
      for (const [name, values] of after)
        assert.deepEqual(values, Float32Array.from(wanted.get(name) ?? before.get(name)!), name);
      for (const file of ['config.json', 'tokenizer.json', 'expected.json'])
        assert.deepEqual(readFileSync(join(out, file)), readFileSync(join(directory, file)));
    });

  for (const dtype of ['BF16', 'F16'] as const)
    it(`of ${dtype} shards keeps shards and dtype, each sum rounded to the nearest`, () => {
      const directory = converted('llama', dtype);
      const adapter = join(MODELS, 'llama', 'adapter');
      const model = modelOf(directory, adapter, false);
      const out = join(temporaryDirectory(), 'out');
      mergeAdapter(model, adapter, out);
      const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
      const before = new Map(shards.flatMap((shard) => [...read(directory, shard)]));
      const wanted = expected(model, adapter, before);
      let changed = 0;
      for (const file of shards) {
        for (const [name, values] of read(out, file)) {
          const sums = wanted.get(name);
          if (sums !== undefined) changed++;
          const rounded = fromFloat32(dtype, Float32Array.from(sums ?? before.get(name)!));
          assert.deepEqual(values, toFloat32(dtype, rounded), name);
        }
        assert.equal(openSafetensors(join(out, file)).tensors.values().next().value?.dtype, dtype);
      }
      assert.equal(changed, model.linearModules.length);
      assert.equal(openSafetensors(join(out, 'model-00001-of-00002.safetensors')).metadata.get('format'), 'pt');
    });

  it('of a model that leaves the prefix of its names out has those names, and links become files', () => {
    const files = converted('gpt2', 'F32', (name) => name.replace(/^transformer\./, ''));
    const directory = temporaryDirectory();
    for (const file of readdirSync(files)) symlinkSync(join(files, file), join(directory, file));
    const adapter = join(MODELS, 'gpt2', 'adapter');
    const model = { ...modelOf(files, adapter, true, 'transformer.'), directory };
    const out = join(temporaryDirectory(), 'out');
    mergeAdapter(model, adapter, out);
    assert(openSafetensors(join(out, 'model-00001-of-00002.safetensors')).tensors.has('h.0.attn.c_attn.weight'));
  });

  it('leaves out weights in other formats, which would be those without the adapter', () => {
    const directory = converted('llama', 'F32');
    for (const file of ['pytorch_model.bin', 'LICENSE', 'x.gguf']) writeFileSync(join(directory, file), 'x');
    mkdirSync(join(directory, 'onnx'));
    const adapter = join(MODELS, 'llama', 'adapter');
    const model = modelOf(directory, adapter, false);
    writeSafetensors(join(directory, 'consolidated.safetensors'), []);
    const out = join(temporaryDirectory(), 'out');
    assert.deepEqual(mergeAdapter(model, adapter, out).leftOut, [
      'consolidated.safetensors',
      'onnx',
      'pytorch_model.bin',
      'x.gguf',
    ]);
    assert(existsSync(join(out, 'LICENSE')));
  });
});

describe('a model with its adapter folded in', () => {
  for (const fixture of goldenModels())
    it(`gives the losses that PEFT gives with the adapter beside it: ${fixture}`, async () => {
      const directory = join(MODELS, fixture);
      const { examples, variants, tolerance } = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));
      const out = join(temporaryDirectory(), 'out');
      mergeAdapter(openBaseModel(directory), join(directory, 'adapter'), out);
      const forward = await createForward(openBaseModel(out), undefined, onCpu);
      const losses = await forward.losses(examples.map(rowOf), 1);
      await forward.close();
      variants.adapter.nll.forEach((nll: number, i: number) => {
        assert(Math.abs(losses[i]! - nll) <= tolerance.strict_nll_abs, `example ${i}: ${losses[i]}, expected ${nll}`);
      });
    });
});

describe('merging', () => {
  const adapter = join(MODELS, 'llama', 'adapter');

  it('never overwrites, and leaves nothing where it fails', () => {
    const parent = temporaryDirectory();
    const model = modelOf(join(MODELS, 'llama'), adapter, false);
    mkdirSync(join(parent, 'there'));
    assert.throws(() => mergeAdapter(model, adapter, join(parent, 'there')), /there: exists already/);
    rmSync(join(parent, 'there'), { recursive: true });
    const large = temporaryDirectory();
    const { description, matrices } = readPeftAdapter(adapter, model.linearModules);
    writePeftAdapter(
      large,
      description,
      matrices.map((x) => x * 1e6),
    );
    const halves = modelOf(converted('llama', 'F16'), adapter, false);
    assert.throws(
      () => mergeAdapter(halves, large, join(parent, 'out')),
      /q_proj.weight with the adapter .* F16 cannot hold/,
    );
    assert.deepEqual(readdirSync(parent), []);
  });

  it('gives the same files, however small its chunks are', () => {
    for (const [fixture, fanInFanOut] of [
      ['llama', false],
      ['gpt2', true],
    ] as const) {
      const model = modelOf(join(MODELS, fixture), join(MODELS, fixture, 'adapter'), fanInFanOut);
      const parent = temporaryDirectory();
      const [whole, pieces] = [2 ** 23, 1000].map((chunkBytes, i) => {
        mergeAdapter(model, join(MODELS, fixture, 'adapter'), join(parent, String(i)), chunkBytes);
        return readFileSync(join(parent, String(i), 'model.safetensors'));
      });
      assert.deepEqual(pieces, whole);
    }
  });
});
