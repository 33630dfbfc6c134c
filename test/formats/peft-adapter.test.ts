/** PEFT directories: ours against those that PEFT wrote, and everything that is refused by name. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readPeftAdapter, writePeftAdapter } from '../../formats/peft-adapter.ts';
import { openSafetensors, type Safetensors } from '../../formats/safetensors.ts';
import { tensorChunks } from '../../formats/safetensors-data.ts';
import { float32Tensor, writeSafetensors } from '../../formats/safetensors-writer.ts';
import { AdapterDescription, type LinearModule } from '../../proto/adapter.ts';
import { editHeader } from '../support/edit-header.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MODELS = join(goldenFiles, 'models/');
const WEIGHTS = 'adapter_model.safetensors';
const json = (directory: string) => JSON.parse(readFileSync(join(directory, 'adapter_config.json'), 'utf8'));

/** The adapted layers of a PEFT directory, and one that is not adapted. */
function linearModules(directory: string): LinearModule[] {
  const { tensors } = openSafetensors(join(directory, WEIGHTS));
  const modules = [...tensors].flatMap(([key, { shape }]) => {
    const name = /^base_model\.model\.(.*)\.lora_A\.weight$/.exec(key)?.[1];
    if (name === undefined) return [];
    return [{ name, fanIn: shape[1]!, fanOut: tensors.get(key.replace('lora_A', 'lora_B'))!.shape[0]! }];
  });
  return [...modules, { name: 'model.layers.0.not_adapted', fanIn: 3, fanOut: 5 }];
}

const tensorBytes = ({ file, tensors }: Safetensors) =>
  new Map(
    [...tensors].map(([name, tensor]) => [
      name,
      [tensor.dtype, tensor.shape, [...tensorChunks(file, tensor, 1 << 20)]],
    ]),
  );

describe('a PEFT adapter', () => {
  for (const fixture of goldenModels())
    it(`of ${fixture} is written back as PEFT wrote it`, () => {
      const theirs = join(MODELS, fixture, 'adapter');
      const ours = temporaryDirectory();
      const { description, matrices } = readPeftAdapter(theirs, linearModules(theirs));
      writePeftAdapter(ours, description, matrices);
      assert.deepEqual(AdapterDescription.parse(JSON.parse(JSON.stringify(description))), description);
      const [a, b] = [theirs, ours].map((directory) => openSafetensors(join(directory, WEIGHTS)));
      assert.deepEqual(tensorBytes(b!), tensorBytes(a!));
      assert.deepEqual(b!.metadata, a!.metadata);
      // What we do not write has PEFT's default, so nothing is lost.
      const unset = { megatron_core: 'megatron.core', peft_version: json(theirs).peft_version, qalora_group_size: 16 };
      for (const [key, value] of Object.entries(json(theirs)))
        if (Object.hasOwn(json(ours), key)) assert.deepEqual(json(ours)[key], value, key);
        else if (Object.hasOwn(unset, key)) assert.equal(value, unset[key as keyof typeof unset], key);
        else assert(value === null || value === false || Object.keys(value as object).length === 0, key);
      for (const key of Object.keys(json(ours))) assert(Object.hasOwn(json(theirs), key), `PEFT knows ${key}`);
    });

  it('may name the default adapter in its tensors, as a state dict of PEFT does', () => {
    const directory = temporaryDirectory();
    const theirs = join(MODELS, 'llama', 'adapter');
    cpSync(theirs, directory, { recursive: true });
    editHeader(join(directory, WEIGHTS), (header) =>
      header.replaceAll(/lora_([AB])\.weight/g, 'lora_$1.default.weight'),
    );
    const modules = linearModules(theirs);
    assert.deepEqual(readPeftAdapter(directory, modules), readPeftAdapter(theirs, modules));
  });

  it('keeps A then B of each module, row-major, in the order of the base model', () => {
    const directory = join(MODELS, 'llama', 'adapter');
    const modules = linearModules(directory);
    const { description, matrices } = readPeftAdapter(directory, modules.toReversed());
    const [first] = description.modules;
    assert.equal(first?.name, modules.at(-2)?.name);
    const stored = openSafetensors(join(directory, WEIGHTS));
    const b = stored.tensors.get(`base_model.model.${first?.name}.lora_B.weight`)!;
    const [bytes] = [...tensorChunks(stored.file, b, 1 << 20)];
    const start = first!.rank * first!.fanIn;
    assert.deepEqual(matrices.slice(start, start + b.bytes / 4), new Float32Array(bytes!.buffer));
  });

  it('comes back with patterns, rsLoRA and fan_in_fan_out', () => {
    const directory = temporaryDirectory();
    const description: AdapterDescription = {
      baseModel: 'org/name',
      rank: 2,
      alpha: 3,
      useRslora: true,
      targetModules: 'h\\.[0-9]+\\.(q|v)',
      rankPattern: { '0.q': 1 },
      alphaPattern: { v: 0.5 },
      fanInFanOut: true,
      train: 'both',
      modules: [
        { name: 'h.0.q', rank: 1, fanIn: 2, fanOut: 3, scale: 3 },
        { name: 'h.0.v', rank: 2, fanIn: 2, fanOut: 1, scale: 0.5 / Math.sqrt(2) },
      ],
    };
    const matrices = Float32Array.from({ length: 11 }, (_, i) => i / 7);
    writePeftAdapter(directory, description, matrices);
    const linear = description.modules.map(({ name, fanIn, fanOut }) => ({ name, fanIn, fanOut }));
    assert.deepEqual(readPeftAdapter(directory, linear), { description, matrices });
  });
});

describe('a PEFT adapter is read as PEFT reads it', () => {
  const directory = join(MODELS, 'llama', 'adapter');
  const modules = linearModules(directory);
  const read = (change: object) => {
    const copy = temporaryDirectory();
    cpSync(directory, copy, { recursive: true });
    writeFileSync(join(copy, 'adapter_config.json'), JSON.stringify({ ...json(directory), ...change }));
    const warnings: string[] = [];
    return { ...readPeftAdapter(copy, modules, (warning) => warnings.push(warning)), warnings };
  };
  const plain = readPeftAdapter(directory, modules).description;

  it('with fields that do not concern the forward pass, without a word', () => {
    for (const change of [
      { exclude_modules: [] },
      { exclude_modules: '' },
      { loftq_config: { loftq_bits: 4 }, corda_config: { corda_method: 'kpm' }, eva_config: { rho: 1 } },
      { ensure_weight_tying: true, megatron_core: 'x', use_rslora: null, fan_in_fan_out: null },
      { init_lora_weights: null, lora_dtype: null, model_key_mapping: null, use_merged_linear: false },
    ]) {
      const { description, warnings } = read(change);
      assert.deepEqual([description, warnings], [plain, []], JSON.stringify(change));
    }
  });

  it('with a number in a field that PEFT does not know, which is named', () => {
    const { description, warnings } = read({ lorap_emb_lr: 1e-6, constructor: 1 });
    assert.deepEqual(description, plain);
    assert.match(warnings.join('\n'), /adapter_config.json: lorap_emb_lr = 0.000001 is unknown.*constructor = 1/s);
  });

  it('with layers_to_transform, which does not choose among whole names', () => {
    const whole = plain.modules.map(({ name }) => name);
    assert.deepEqual(read({ target_modules: whole, layers_to_transform: [7] }).description.modules, plain.modules);
  });

  it('with a pattern as Python writes it', () => {
    const endings = [...new Set(plain.modules.map(({ name }) => name.split('.').at(-1)!))];
    const pattern = `(?i)\\A(?P<stem>MODEL\\.layers\\.\\d+)\\..*\\.(?:${endings.join('|').replaceAll('_', '\\_')})\\Z`;
    assert.deepEqual(read({ target_modules: pattern }).description.modules, plain.modules);
  });
});

describe('a PEFT adapter is refused by name', () => {
  function copy(change: object = {}): string {
    const directory = temporaryDirectory();
    cpSync(join(MODELS, 'llama', 'adapter'), directory, { recursive: true });
    writeFileSync(join(directory, 'adapter_config.json'), JSON.stringify({ ...json(directory), ...change }));
    return directory;
  }
  const refused = (directory: string, message: RegExp, modules = linearModules(join(MODELS, 'llama', 'adapter'))) =>
    assert.throws(() => readPeftAdapter(directory, modules), message);

  const FIELDS: [change: object, message: RegExp][] = [
    [{ peft_type: 'LOHA' }, /peft_type/],
    [{ task_type: 'SEQ_CLS' }, /task_type/],
    [{ use_dora: true }, /use_dora = true is not supported/],
    [{ bias: 'lora_only' }, /bias/],
    [{ lora_bias: true }, /lora_bias = true/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save = \["lm_head"\]/],
    [{ init_lora_weights: 'pissa' }, /init_lora_weights/],
    [{ layer_replication: [[0, 2]] }, /layer_replication/],
    [{ target_parameters: ['a'] }, /target_parameters/],
    [{ trainable_token_indices: [1] }, /trainable_token_indices/],
    [{ alora_invocation_tokens: [1] }, /alora_invocation_tokens/],
    [{ use_qalora: true }, /use_qalora/],
    [{ use_bdlora: {} }, /use_bdlora = \{\} is not supported/],
    [{ arrow_config: { top_k: 1 } }, /arrow_config/],
    [{ megatron_config: { a: 1 } }, /megatron_config/],
    [{ something_new: 'a word' }, /something_new = "a word"/],
    [{ constructor: true }, /constructor = true/],
    [{ target_modules: 'model.layers.0.(?=q)' }, /adapter_config.json: the pattern .* is not supported/],
    [{ rank_pattern: { '(a)\\1': 4 } }, /adapter_config.json: the pattern .* is not supported/],
    [{ r: 0 }, /at r$|→ at r/m],
    [{ lora_alpha: 'x' }, /lora_alpha/],
    [
      { lora_alpha: -1e300 },
      /adapter_config.json: alpha -1e\+300 and rank 8 give .*q_proj the scale -1.25e\+299, expected one/,
    ],
    [{ target_modules: null }, /target_modules/],
    [{ target_modules: 'q', layers_to_transform: [0] }, /layers_to_transform needs target_modules to be a list/],
    [{ r: 4 }, /q_proj.lora_A.weight is \[8, 32\], expected \[4, 32\]/],
    [{ target_modules: ['q_proj'] }, /of no adapted linear layer: .*v_proj.*no embedding, head, norm or expert/],
    [{ target_modules: ['q_proj', 'v_proj', 'not_adapted'] }, /2 tensors .* are missing: .*not_adapted.lora_A.weight/],
  ];
  for (const [change, message] of FIELDS)
    it(`for ${JSON.stringify(change)}`, () => {
      const directory = copy(change);
      refused(directory, message);
      refused(directory, new RegExp(directory));
    });

  it('when a file is missing, is a pickle, or is no JSON', () => {
    const directory = copy();
    writeFileSync(join(directory, 'adapter_config.json'), '{');
    refused(directory, /adapter_config.json: not JSON/);
    rmSync(join(directory, 'adapter_config.json'));
    refused(directory, /adapter_config.json: cannot be read/);
    const second = copy();
    rmSync(join(second, WEIGHTS));
    refused(second, /adapter_model.safetensors: cannot be read/);
    writeFileSync(join(second, 'adapter_model.bin'), '');
    refused(second, /has adapter_model.bin only/);
  });

  it('when the base model has other layers or sizes', () => {
    const directory = copy();
    const modules = linearModules(directory);
    refused(directory, /target_modules .* matches no linear layer/, [{ name: 'x', fanIn: 1, fanOut: 1 }]);
    refused(directory, /lora_B.weight is .* expected \[999, 8\]/, [
      { ...modules[0]!, fanOut: 999 },
      ...modules.slice(1),
    ]);
  });

  it('when a tensor is an integer or not finite', () => {
    const directory = copy({ target_modules: ['q'], r: 1 });
    const modules = [{ name: 'q', fanIn: 2, fanOut: 1 }];
    const write = (b: Parameters<typeof writeSafetensors>[1][number]) => {
      rmSync(join(directory, WEIGHTS));
      const a = float32Tensor('base_model.model.q.lora_A.weight', [1, 2], Float32Array.of(1, 2));
      writeSafetensors(join(directory, WEIGHTS), [a, b]);
    };
    const name = 'base_model.model.q.lora_B.weight';
    write(float32Tensor(name, [1, 1], Float32Array.of(Number.NaN)));
    refused(directory, /lora_B.weight has elements that are not finite/, modules);
    write({ name, dtype: 'I32', shape: [1, 1], chunks: () => [Buffer.alloc(4)] });
    refused(directory, /lora_B.weight is I32, expected F32/, modules);
    write({ name, dtype: 'BF16', shape: [1, 1], chunks: () => [Buffer.of(0x80, 0x3f)] });
    assert.equal(readPeftAdapter(directory, modules).matrices[2], 1);
  });
});
