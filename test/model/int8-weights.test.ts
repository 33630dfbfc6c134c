/** Weight-only int8: the loss is exactly that of a model with the rounded weights. */
import assert from 'node:assert/strict';
import { closeSync, cpSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readFloat32 } from '../../formats/safetensors-data.ts';
import { adaptableLinears } from '../../model/architecture.ts';
import { type BaseModel, openBaseModel, type WeightTensor } from '../../model/base-model.ts';
import { BLOCK, int8Parts, int8Weights } from '../../model/int8-weights.ts';
import { openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const models = join(goldenFiles, 'models');
const scratch = temporaryDirectory();
process.env.XDG_CACHE_HOME = scratch;

const floats = (tensor: WeightTensor): Float32Array =>
  readFloat32({ file: tensor.file, tensors: new Map(), metadata: new Map() }, tensor.name, tensor);

// The copy of gpt2 keeps its head in float32, since that is the embedding too; what is left is the head's rounding, of losses up to 300.
const TOLERANCES = { llama: 1e-4, gpt2: 1 };

/** A copy of the model whose linear weights and head are what the quantized ones stand for. */
function dequantizedCopy(name: string): string {
  const copy = join(scratch, name);
  cpSync(join(models, name), copy, { recursive: true });
  const original = openBaseModel(join(models, name));
  const quantized = int8Weights(original);
  const model = openBaseModel(copy);
  const { head, embedding, vocabularySize } = model.architecture;
  const linears = adaptableLinears(model.architecture).map((linear) => ({ ...linear, name: `${linear.name}.weight` }));
  const last = { name: head.name, fanIn: embedding.size, fanOut: vocabularySize, stored: 'out-in' };
  for (const { name: weight, fanIn, fanOut, stored } of head.tied ? linears : [...linears, last]) {
    const target = model.weights.get(weight)!;
    const { quantized: q, scales } = quantized.get(weight)!;
    const bytes = readFileSync(q.file).subarray(q.offset, q.offset + q.bytes);
    const scale = floats(scales);
    const blocks = Math.ceil(fanIn / BLOCK);
    const values = new Float32Array(fanIn * fanOut);
    for (let out = 0; out < fanOut; out++)
      for (let k = 0; k < fanIn; k++) {
        const block = out * blocks + Math.floor(k / BLOCK);
        const value = (bytes[block * BLOCK + (k % BLOCK)]! - 128) * scale[block]!;
        values[stored === 'out-in' ? out * fanIn + k : k * fanOut + out] = value;
      }
    const fd = openSync(target.file, 'r+');
    writeSync(fd, new Uint8Array(values.buffer), 0, target.bytes, target.offset);
    closeSync(fd);
  }
  return copy;
}

describe('int8 base weights', () => {
  for (const [name, tolerance] of Object.entries(TOLERANCES))
    it(`give the loss of the rounded weights (${name})`, async () => {
      const { rows, model } = openGolden(join(models, name));
      const losses = (model: BaseModel, quantize: 'none' | 'int8'): Promise<Float64Array> =>
        withForward(model, undefined, { quantize }, (forward) => forward.losses(rows, 1));
      const got = await losses(model, 'int8');
      const rounded = await losses(openBaseModel(dequantizedCopy(name)), 'none');
      const exact = await losses(model, 'none');
      got.forEach((loss, i) => {
        assert(Math.abs(loss - rounded[i]!) < tolerance, `${i}: ${loss}, rounded ${rounded[i]}`);
        assert(Math.abs(loss - exact[i]!) < 2, `${i}: ${loss}, float32 ${exact[i]}`);
      });
    });

  it('are cut into parts that lie one after another', () => {
    const tensor = (shape: number[], bytes: number): WeightTensor => {
      return { name: 'w', file: 'f', dtype: 'U8', shape, offset: 1000, bytes };
    };
    const weight = { quantized: tensor([50_000, 2, BLOCK], 6_400_000), scales: tensor([100_000], 400_000) };
    const parts = int8Parts(weight, 100, 50_000);
    assert.deepEqual(
      parts.map(({ quantized }) => quantized.shape[0]),
      [32768, 17232],
    );
    assert.equal(parts[1]!.quantized.offset, 1000 + 32768 * 128);
    assert.equal(parts[1]!.scales.offset, 1000 + 32768 * 8);
    assert.equal(parts[1]!.scales.bytes, 17232 * 8);
  });
});
