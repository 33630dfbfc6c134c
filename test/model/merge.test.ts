/** Merged directories against W + scale · B·A computed here, element by element. */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
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
import { type BaseModel, openBaseModel } from '../../model/base-model.ts';
import { mergeAdapter } from '../../model/merge.ts';
import { assertClose, openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MODELS = join(goldenFiles, 'models/');
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;

function read(directory: string, file = 'model.safetensors'): Map<string, Float32Array> {
  const opened = openSafetensors(join(directory, file));
  return new Map([...opened.tensors].map(([name, tensor]) => [name, readFloat32(opened, name, tensor)]));
}

/** W + scale · B·A in float64, before any rounding. */
function expected(model: BaseModel, adapter: string, before: Map<string, Float32Array>): Map<string, number[]> {
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

/** The fixture's model with its weights in `dtype`, in two shards. */
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
  writeSafetensors(join(directory, SHARDS[0]), tensors.slice(0, half), { format: 'pt' });
  writeSafetensors(join(directory, SHARDS[1]), tensors.slice(half));
  const weight_map = Object.fromEntries(tensors.map(({ name }, i) => [name, SHARDS[i < half ? 0 : 1]]));
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  for (const file of ['config.json', 'tokenizer.json'])
    copyFileSync(join(MODELS, fixture, file), join(directory, file));
  return directory;
}

describe('a merged directory', () => {
  for (const fixture of ['llama', 'phi3', 'gpt2'])
    it(`has W + scale · B·A in the adapted layers of ${fixture}, and nothing else changed`, () => {
      const directory = join(MODELS, fixture);
      const adapter = join(directory, 'adapter');
      const out = join(temporaryDirectory(), 'made', 'out');
      const model = openBaseModel(directory);
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
      const model = openBaseModel(directory);
      const out = join(temporaryDirectory(), 'out');
      mergeAdapter(model, adapter, out);
      const before = new Map(SHARDS.flatMap((shard) => [...read(directory, shard)]));
      const wanted = expected(model, adapter, before);
      let changed = 0;
      for (const file of SHARDS) {
        for (const [name, values] of read(out, file)) {
          const sums = wanted.get(name);
          if (sums !== undefined) changed++;
          const rounded = fromFloat32(dtype, Float32Array.from(sums ?? before.get(name)!));
          assert.deepEqual(values, toFloat32(dtype, rounded), name);
        }
        assert.equal(openSafetensors(join(out, file)).tensors.values().next().value?.dtype, dtype);
      }
      assert.equal(changed, wanted.size);
      assert.equal(openSafetensors(join(out, SHARDS[0])).metadata.get('format'), 'pt');
    });

  it('of a model that leaves the prefix of its names out has those names, and links become files', () => {
    const files = converted('gpt2', 'F32', (name) => name.replace(/^transformer\./, ''));
    const directory = temporaryDirectory();
    for (const file of readdirSync(files)) symlinkSync(join(files, file), join(directory, file));
    const adapter = join(MODELS, 'gpt2', 'adapter');
    const out = join(temporaryDirectory(), 'out');
    mergeAdapter(openBaseModel(directory), adapter, out);
    assert(openSafetensors(join(out, SHARDS[0])).tensors.has('h.0.attn.c_attn.weight'));
  });

  it('leaves out weights in other formats, which would be those without the adapter', () => {
    const directory = converted('llama', 'F32');
    for (const file of ['pytorch_model.bin', 'LICENSE', 'x.gguf']) writeFileSync(join(directory, file), 'x');
    mkdirSync(join(directory, 'onnx'));
    const adapter = join(MODELS, 'llama', 'adapter');
    const model = openBaseModel(directory);
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
      const { expected, rows, model } = openGolden(directory);
      const out = join(temporaryDirectory(), 'out');
      mergeAdapter(model, join(directory, 'adapter'), out);
      const losses = await withForward(openBaseModel(out), undefined, {}, (forward) => forward.losses(rows, 1));
      assertClose(losses, expected.variants.adapter.nll, expected.tolerance.strict_nll_abs, 'nll');
    });
});

describe('merging', () => {
  const adapter = join(MODELS, 'llama', 'adapter');

  it('never overwrites, and leaves nothing where it fails', () => {
    const parent = temporaryDirectory();
    const model = openBaseModel(join(MODELS, 'llama'));
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
    const halves = openBaseModel(converted('llama', 'F16'));
    assert.throws(
      () => mergeAdapter(halves, large, join(parent, 'out')),
      /q_proj.weight with the adapter .* F16 cannot hold/,
    );
    assert.deepEqual(readdirSync(parent), []);
  });

  it('gives the same files, however small its chunks are', () => {
    for (const fixture of ['llama', 'gpt2']) {
      const model = openBaseModel(join(MODELS, fixture));
      const parent = temporaryDirectory();
      const [whole, pieces] = [2 ** 23, 1000].map((chunkBytes, i) => {
        mergeAdapter(model, join(MODELS, fixture, 'adapter'), join(parent, String(i)), chunkBytes);
        return readFileSync(join(parent, String(i), 'model.safetensors'));
      });
      assert.deepEqual(pieces, whole);
    }
  });
});
