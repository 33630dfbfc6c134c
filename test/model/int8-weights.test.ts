/** Weight-only int8: the loss is exactly that of a model with the rounded weights. */
import assert from 'node:assert/strict';
import { closeSync, cpSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { readFloat32 } from '../../formats/safetensors-data.ts';
import { adaptableLinears } from '../../model/architecture.ts';
import { openBaseModel, type WeightTensor } from '../../model/base-model.ts';
import { BLOCK, int8Parts, int8Weights } from '../../model/int8-weights.ts';
import { createForward } from '../../model/runtime/forward.ts';
import { onCpu, rowOf } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';

const models = join(goldenFiles, 'models');
const scratch = mkdtempSync(join(tmpdir(), 'onebyte-int8-'));
process.env.XDG_CACHE_HOME = scratch;
after(() => rmSync(scratch, { recursive: true, force: true }));

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
      const { examples } = JSON.parse(readFileSync(join(models, name, 'expected.json'), 'utf8'));
      const rows = examples.map(rowOf);
      const options = { ...onCpu, quantize: 'int8' } as const;
      const quantized = await createForward(openBaseModel(join(models, name)), undefined, options);
      const rounded = await createForward(openBaseModel(dequantizedCopy(name)), undefined, onCpu);
      const exact = await createForward(openBaseModel(join(models, name)), undefined, onCpu);
      const [got, expected, unrounded] = await Promise.all(
        [quantized, rounded, exact].map((forward) => forward.losses(rows, 1)),
      );
      got!.forEach((loss, i) => {
        assert(Math.abs(loss - expected![i]!) < tolerance, `${i}: ${loss}, rounded ${expected![i]}`);
        assert(Math.abs(loss - unrounded![i]!) < 2, `${i}: ${loss}, float32 ${unrounded![i]}`);
      });
      for (const forward of [quantized, rounded, exact]) await forward.close();
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
