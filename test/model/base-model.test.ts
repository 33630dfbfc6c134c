/** What openBaseModel and createForward refuse, and how they say it. */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fingerprintBaseModel, openBaseModel } from '../../model/base-model.ts';
import { cacheDirectory } from '../../model/file-digest.ts';
import { createForward } from '../../model/runtime/forward.ts';
import { completionRow } from '../../model/token-row.ts';
import { editHeader } from '../support/edit-header.ts';
import { onCpu } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const llama = join(goldenFiles, 'models/llama');
process.env.XDG_CACHE_HOME = temporaryDirectory();

function copyOf(directory: string): string {
  const copy = temporaryDirectory();
  cpSync(directory, copy, { recursive: true });
  return copy;
}

/** A copy of a model with other config fields; `undefined` removes one. */
function withConfig(directory: string, fields: Record<string, unknown>): string {
  const copy = copyOf(directory);
  const file = join(copy, 'config.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...fields }));
  return copy;
}

/** A copy with `edit` applied to the safetensors header. */
function withHeader(
  directory: string,
  edit: (header: Record<string, { dtype: string; shape: number[] }>) => void,
): string {
  const copy = copyOf(directory);
  editHeader(join(copy, 'model.safetensors'), (text) => {
    const header = JSON.parse(text);
    edit(header);
    return JSON.stringify(header);
  });
  return copy;
}

const refuses = (directory: string, message: RegExp): void =>
  assert.throws(() => openBaseModel(directory), { name: 'OperatingError', exitCode: 2, message });

describe('a base model directory is refused', () => {
  it('when it is not there, or holds no weights', () => {
    refuses(join(temporaryDirectory(), 'nowhere'), /nowhere: no such model directory/);
    const copy = copyOf(llama);
    rmSync(join(copy, 'model.safetensors'));
    refuses(copy, /neither model.safetensors nor model.safetensors.index.json/);
  });
  it('with an architecture that is not supported, by name and with the list of those that are', () => {
    refuses(
      withConfig(llama, { model_type: 'mamba' }),
      /config.json: model_type "mamba" is not supported.*gpt2, granite, llama/,
    );
    refuses(withConfig(llama, { model_type: 'toString' }), /"toString" is not supported/);
  });
  it('with a malformed config, by field, got and expected', () => {
    const copy = copyOf(llama);
    writeFileSync(join(copy, 'config.json'), '{"model_type": "llama", ');
    refuses(copy, /config.json: not JSON/);
    writeFileSync(join(copy, 'config.json'), `{"model_type": ${'['.repeat(20000)}${']'.repeat(20000)}}`);
    refuses(copy, /config.json: not JSON: nested deeper than/);
    refuses(withConfig(llama, { hidden_size: '32' }), /hidden_size is "32", expected a whole number from 1/);
    refuses(withConfig(llama, { num_key_value_heads: 3 }), /num_key_value_heads is 3, expected a divisor of 4 heads/);
    refuses(withConfig(llama, { hidden_act: 'mish' }), /hidden_act is "mish", expected one of silu/);
    refuses(withConfig(llama, { model_type: undefined }), /model_type is missing/);
  });
  it('with a feature that is not supported, by field', () => {
    refuses(
      withConfig(llama, { rope_parameters: { rope_type: 'proportional', rope_theta: 1e4 } }),
      /rope_parameters.rope_type is "proportional", expected one of default, linear, dynamic/,
    );
    refuses(withConfig(llama, { quantization_config: { quant_method: 'gptq' } }), /quantization_config is .*gptq/);
    refuses(withConfig(llama, { partial_rotary_factor: 0.5 }), /partial_rotary_factor is 0.5, expected 1/);
    refuses(
      withConfig(join(goldenFiles, 'models/gemma3'), { use_bidirectional_attention: true }),
      /use_bidirectional_attention is true/,
    );
    refuses(withConfig(join(goldenFiles, 'models/gpt2'), { add_cross_attention: true }), /add_cross_attention is true/);
    const named = { transformers_weights: 'model.safetensors' };
    refuses(withConfig(llama, named), /transformers_weights is "model.safetensors", expected none/);
  });
  it('with an adapter within, which transformers would apply', () => {
    const copy = copyOf(llama);
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      cpSync(join(copy, 'adapter', file), join(copy, file));
    refuses(copy, /a model with an adapter within \(adapter_config.json\).*a directory of its own/);
  });
  it('with a tensor that is stored with the prefix of the family and without', () => {
    const norm = 'layers.1.input_layernorm.weight';
    const twice = withHeader(llama, (header) => {
      header[norm] = header['model.norm.weight']!;
      delete header['model.norm.weight'];
    });
    refuses(twice, /tensor layers.1.input_layernorm.weight is also stored as model.layers.1.input_layernorm.weight/);
  });
  it('with a tensor that is missing, of a wrong shape or of a wrong dtype, by name', () => {
    const norm = 'model.layers.1.input_layernorm.weight';
    const rename = withHeader(llama, (header) => {
      header['model.layers.1.other.weight'] = header[norm]!;
      delete header[norm];
    });
    refuses(rename, /tensor model.layers.1.input_layernorm.weight \[32\] is missing/);
    refuses(
      withConfig(llama, { intermediate_size: 65 }),
      /mlp.gate_proj.weight has shape \[64,32\], expected \[65,32\]/,
    );
    refuses(withConfig(llama, { attention_bias: true }), /self_attn.q_proj.bias \[32\] is missing/);
    const integers = withHeader(llama, (header) => {
      header[norm]!.dtype = 'I32';
    });
    refuses(integers, /input_layernorm.weight has dtype I32, expected one of F32, BF16, F16/);
  });
  it('with a file that is cut short, by name', () => {
    const copy = copyOf(llama);
    truncateSync(join(copy, 'model.safetensors'), 100_000);
    refuses(copy, /model.safetensors.*leave the file/);
  });
  it('with an index that names what is not there, or leaves the directory', () => {
    const sharded = join(goldenFiles, 'variations/llama_f16_shards');
    const copy = copyOf(sharded);
    rmSync(join(copy, 'model-00002-of-00003.safetensors'));
    refuses(copy, /model-00002-of-00003.safetensors: cannot be read/);
    const outside = copyOf(sharded);
    writeFileSync(join(outside, 'model.safetensors.index.json'), '{"weight_map": {"a": "../b.safetensors"}}');
    refuses(outside, /weight_map names "..\/b.safetensors", expected a file in the same directory/);
  });
});

describe('a forward pass', () => {
  it('names the tensor whose weights are not finite', async () => {
    const copy = copyOf(llama);
    const model = openBaseModel(copy);
    const tensor = model.weights.get('model.layers.1.mlp.up_proj.weight')!;
    const bytes = readFileSync(tensor.file);
    bytes.writeFloatLE(Number.NaN, tensor.offset + 40);
    writeFileSync(tensor.file, bytes);
    await assert.rejects(createForward(model, undefined, onCpu), {
      name: 'OperatingError',
      exitCode: 2,
      message: /model.safetensors: tensor model.layers.1.mlp.up_proj.weight holds NaN at element 10/,
    });
  });
});

describe('a forward pass in float16', () => {
  it('says what to set where activations leave it', async () => {
    const copy = copyOf(llama);
    const { file, offset, bytes } = openBaseModel(copy).weights.get('model.layers.1.mlp.up_proj.weight')!;
    const written = readFileSync(file);
    for (let at = offset; at < offset + bytes; at += 4) written.writeFloatLE(written.readFloatLE(at) * 2 ** 18, at);
    writeFileSync(file, written);
    const model = openBaseModel(copy);
    await assert.rejects(createForward(model, undefined, { ...onCpu, precision: 'float16' }), {
      exitCode: 2,
      message:
        /every weight is finite \(worker.precision float16 holds .*set worker.precision: bfloat16, or float32 for finite differences\)/,
    });
    const forward = await createForward(model, undefined, { ...onCpu, precision: 'bfloat16' });
    await forward.close();
  });
});

it('takes a number that float32 cannot hold for infinite, as torch does', async () => {
  const model = openBaseModel(withConfig(llama, { rms_norm_eps: 1e300 }));
  const forward = await createForward(model, undefined, onCpu);
  const [loss] = await forward.losses([completionRow([1, 2], 1)], 1).finally(forward.close);
  assert.equal(loss!.toFixed(5), Math.log(model.vocabularySize).toFixed(5), 'every logit is 0');
});

describe('the fingerprint of a base model', () => {
  it('is the same for the same tensors in another layout of files, and changes with any byte', async () => {
    const first = await fingerprintBaseModel(openBaseModel(llama));
    assert.match(first, /^[0-9a-f]{64}$/);
    assert.equal(await fingerprintBaseModel(openBaseModel(llama)), first, 'from the cache');
    const digests = join(cacheDirectory(), 'digests');
    for (const damage of [null, 7, { 'model.norm.weight': 'x' }])
      for (const name of readdirSync(digests)) {
        const { stamp } = JSON.parse(readFileSync(join(digests, name), 'utf8'));
        writeFileSync(join(digests, name), JSON.stringify({ stamp, digests: damage }));
        assert.equal(await fingerprintBaseModel(openBaseModel(llama)), first, `from a cache that holds ${damage}`);
      }
    const copy = copyOf(llama);
    assert.equal(await fingerprintBaseModel(openBaseModel(copy)), first, 'elsewhere');
    const file = join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(file, bytes);
    assert.notEqual(await fingerprintBaseModel(openBaseModel(copy)), first, 'one bit');
  });
});
