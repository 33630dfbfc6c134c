// What a GPU does with this project, beside PyTorch: fixtures, rates, memory. Prints a table, then one line of JSON.
// node check.mjs ONEBYTE PROJECT [--dry-run]: ONEBYTE is bin/onebyte.js of the package, PROJECT holds test/golden/models and examples.
// --dry-run: everything once on the CPU with the smallest sizes and without PyTorch, to see that it runs.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const [onebyte, project, ...flags] = process.argv.slice(2);
const dry = flags.includes('--dry-run');
const here = new URL('.', import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), 'onebyte-gpu-'));
const begin = performance.now();
const LIMIT_MS = 600_000;

/** Providers with the precisions that are checked on each. */
const PROVIDERS = dry
  ? { cpu: ['float32', 'bfloat16', 'float16'] }
  : { cuda: ['float32', 'tf32', 'bfloat16', 'float16'], webgpu: ['float32'] };
/** How far a fixture's summed loss may be off, relative: products of fewer bits (test/model/precision.test.ts); float32 by the fixture's own. */
const TOLERANCES = { tf32: 5e-4, bfloat16: 6e-3, float16: 1e-3 };
/** Shapes of SmolLM2-135M and Llama 3.2 1B; weights are random, speed does not depend on them. */
const SHAPES = {
  '135M': {
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
  },
  '1.2B': {
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
  },
};
const TINY = {
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 512,
};

const seconds = () => Math.round((performance.now() - begin) / 1000);
const say = (text) => process.stderr.write(`${seconds()} s: ${text}\n`);

/** The last line of what a command prints, parsed; or what it failed with, in a line. */
async function jsonOf(file, args) {
  try {
    const { stdout } = await promisify(execFile)(file, args, { maxBuffer: 2 ** 26, timeout: LIMIT_MS });
    return JSON.parse(stdout.trim().split('\n').at(-1));
  } catch (error) {
    const lines = String(error.stderr ?? error.message)
      .trim()
      .split('\n');
    return { error: (lines.at(-1) ?? '').slice(0, 300) };
  }
}
const run = (...args) => jsonOf(process.execPath, [onebyte, ...args]);

/** MiB used on GPU 0, sampled while `work` runs; undefined where nvidia-smi is not there. */
async function withPeak(task) {
  let peakMiB;
  const sample = () => {
    try {
      const out = execFileSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      peakMiB = Math.max(peakMiB ?? 0, Number(out.split('\n')[0]));
    } catch {
      clearInterval(timer);
    }
  };
  const timer = setInterval(sample, 500);
  sample();
  const result = await task();
  clearInterval(timer);
  return { ...result, ...(peakMiB !== undefined && { deviceMiB: peakMiB }) };
}

/** One fixture through `onebyte eval`: the largest difference of a loss, and what is allowed. */
async function fixture(directory, provider, precision) {
  const expected = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));
  const [name, variant] = Object.entries(expected.variants).find(([, { adapter }]) => adapter);
  const at = mkdtempSync(join(work, 'fixture-'));
  const data = join(at, 'pairs.jsonl');
  writeFileSync(
    data,
    expected.examples.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`).join(''),
  );
  const runFile = join(at, 'run.yaml');
  writeFileSync(runFile, JSON.stringify({ model: directory, data: { train: data }, worker: { provider, precision } }));
  const out = await run(
    'eval',
    '--run',
    runFile,
    '--data',
    data,
    '--adapter',
    join(directory, variant.adapter),
    '--per-example',
    '--json',
  );
  const what = `${directory.split('/').at(-1)} ${name}`;
  if (out.error !== undefined) return { what, provider, precision, ok: false, error: out.error };
  const differences = out.examples.map(({ nll }, i) => Math.abs(nll - variant.nll[i]));
  const allowed = (i) => expected.tolerance.nll_abs + (TOLERANCES[precision] ?? 0) * variant.nll[i];
  return {
    what,
    provider,
    precision,
    ok: differences.every((d, i) => d <= allowed(i)),
    worst: Math.max(...differences),
  };
}

/** A model directory of the shape, in bfloat16. */
function randomModel(name, shape) {
  const directory = join(work, name);
  mkdirSync(directory);
  const {
    hidden_size: C,
    intermediate_size: I,
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    head_dim,
    vocab_size,
  } = shape;
  const [q, kv] = [num_attention_heads * head_dim, num_key_value_heads * head_dim];
  const tensors = [
    ['model.embed_tokens.weight', [vocab_size, C]],
    ['model.norm.weight', [C]],
  ];
  for (let i = 0; i < num_hidden_layers; i++) {
    const layer = {
      'self_attn.q_proj': [q, C],
      'self_attn.k_proj': [kv, C],
      'self_attn.v_proj': [kv, C],
      'self_attn.o_proj': [C, q],
      'mlp.gate_proj': [I, C],
      'mlp.up_proj': [I, C],
      'mlp.down_proj': [C, I],
      input_layernorm: [C],
      post_attention_layernorm: [C],
    };
    for (const [part, dims] of Object.entries(layer)) tensors.push([`model.layers.${i}.${part}.weight`, dims]);
  }
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      ...shape,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      torch_dtype: 'bfloat16',
      bos_token_id: 0,
      eos_token_id: 1,
    }),
  );
  let offset = 0;
  const header = { __metadata__: { format: 'pt' } };
  for (const [tensor, dims] of tensors) {
    const bytes = 2 * dims.reduce((a, b) => a * b);
    header[tensor] = { dtype: 'BF16', shape: dims, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const file = join(directory, 'model.safetensors');
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  // The upper halves of float32 numbers: uniform in ±0.035, a deviation of 0.02, from a small linear generator; norms are 1.
  const block = new Uint16Array(2 ** 22);
  const floats = new Float32Array(1);
  const words = new Uint32Array(floats.buffer);
  let state = 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    floats[0] = (state / 2 ** 32 - 0.5) * 0.07;
    block[i] = words[0] >>> 16;
  }
  const random = Buffer.from(block.buffer);
  const ones = Buffer.from(new Uint16Array(8192).fill(0x3f80).buffer);
  writeFileSync(file, Buffer.concat([size, Buffer.from(text)]));
  const append = (bytes) => writeFileSync(file, bytes, { flag: 'a' });
  for (const [, dims] of tensors)
    for (let left = 2 * dims.reduce((a, b) => a * b); left > 0; ) {
      const source = dims.length === 1 ? ones : random;
      const part = source.subarray(0, Math.min(left, source.length));
      append(part);
      left -= part.length;
    }
  return directory;
}

/** Precisions whose rates are measured; undefined: what a worker takes by itself. */
const MEASURED = dry ? [undefined] : { '135M': [undefined], '1.2B': [undefined] };
const ESTIMATORS = ['spsa', 'forward', 'backward'];

/** Rates of the shape, each estimator's at the best of two minibatches, and PyTorch's at the best of its own and of its dtypes. */
async function shapeRates(name, shape) {
  const model = randomModel(name, shape);
  const rows = [];
  const sizes = dry
    ? ['--adapters', '2', '--directions', '2', '--runs', '1']
    : ['--adapters', '32', '--rows', '4', '--rows', '64', '--directions', '16', '--runs', '3'];
  const provider = dry ? 'cpu' : 'cuda';
  for (const precision of dry ? MEASURED : MEASURED[name]) {
    const asked = precision === undefined ? [] : ['--precision', precision];
    const out = await withPeak(() =>
      run('bench', 'forward', '--model', model, '--provider', provider, ...asked, ...sizes, '--no-profile', '--json'),
    );
    say(`${name}, ${provider}, ${precision ?? 'its own precision'}: ${out.error ?? 'measured'}`);
    if (out.error !== undefined) {
      rows.push({ shape: name, provider, precision, error: out.error });
      continue;
    }
    const best = (estimator) =>
      Math.max(...out.directions.filter((row) => row.estimator === estimator).map((row) => row.rowDirectionsPerSecond));
    rows.push({
      shape: name,
      provider,
      precision: precision ?? `its own (${out.settings.precision})`,
      withAdapters: Math.round(out.rows[0].tokensPerSecond),
      without: Math.round(out.rows[1].tokensPerSecond),
      ratio: Number(out.ratio.toFixed(2)),
      ...Object.fromEntries(ESTIMATORS.map((estimator) => [estimator, Math.round(best(estimator))])),
      deviceMiB: out.deviceMiB,
      each: out.directions,
    });
  }
  const torch = dry
    ? { skipped: 'dry run' }
    : await jsonOf('python3', [join(here, 'mezo_rates.py'), model, '64', '0.5']);
  say(`${name}, PyTorch: ${torch.error ?? torch.skipped ?? 'measured'}`);
  rmSync(model, { recursive: true });
  const best = torch.rates && Math.max(...Object.values(torch.rates).flatMap((rates) => Object.values(rates)));
  if (best)
    for (const row of rows)
      for (const estimator of ESTIMATORS)
        if (row[estimator]) row[`${estimator}/PyTorch`] = Number((row[estimator] / best).toFixed(2));
  return { rows, torch: best ? { ...torch, best } : torch };
}

/** Whole runs of the SmolLM2 example on the GPU: accuracy of the test split, and seconds. */
async function exampleRun(file) {
  const example = join(project, 'examples/smollm2-sentiment');
  if (dry) return { skipped: 'dry run' };
  if (!existsSync(join(example, 'model'))) return { skipped: 'no weights in examples/smollm2-sentiment/model' };
  const start = performance.now();
  const out = await run(
    'simulate',
    join(example, file),
    '--set',
    'worker.provider=cuda',
    '--out',
    join(work, file),
    '--json',
  );
  say(`SmolLM2, ${file}: ${out.error ?? 'done'}`);
  return { ...out, wholeSeconds: (performance.now() - start) / 1000 };
}

const models = join(project, 'test/golden/models');
const names = readdirSync(models, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => join(models, name))
  .filter((directory) => existsSync(join(directory, 'expected.json')));
const cases = (dry ? names.slice(0, 2) : names).flatMap((directory) =>
  Object.entries(PROVIDERS).flatMap(([provider, precisions]) =>
    precisions.map((precision) => [directory, provider, precision]),
  ),
);
const fixtures = [];
const next = async () => {
  for (let taken = cases.shift(); taken !== undefined; taken = cases.shift()) fixtures.push(await fixture(...taken));
};
await Promise.all(Array.from({ length: dry ? 1 : 8 }, next));
say(`fixtures: ${fixtures.filter(({ ok }) => ok).length} of ${fixtures.length} within their tolerances`);
// The graph of the shapes below, small: where its nodes run does not depend on the size.
const offProvider = {};
for (const provider of Object.keys(PROVIDERS)) {
  const sizes = ['--adapters', '2', '--directions', '2', '--runs', '1', '--json'];
  const out = await run('bench', 'forward', '--model', join(models, 'llama'), '--provider', provider, ...sizes);
  offProvider[provider] = out.error ?? out.offProvider;
  say(`${provider}, nodes off the provider: ${JSON.stringify(offProvider[provider])}`);
}
const shapes = {};
for (const [name, shape] of Object.entries(dry ? { tiny: TINY } : SHAPES)) shapes[name] = await shapeRates(name, shape);
const smollm2 = { spsa: await exampleRun('run.yaml'), backward: await exampleRun('backward.yaml') };
rmSync(work, { recursive: true, force: true });

const rates = Object.values(shapes).flatMap(({ rows }) => rows);
const wrong = fixtures.filter(({ ok }) => !ok);
console.table(wrong.length === 0 ? [{ fixtures: fixtures.length, wrong: 0 }] : wrong);
console.table(rates.map(({ each: _, ...row }) => row));
const torch = Object.fromEntries(Object.entries(shapes).map(([name, { torch }]) => [name, torch]));
process.stdout.write(
  `${JSON.stringify({ dryRun: dry, seconds: seconds(), fixtures, offProvider, rates, torch, smollm2 })}\n`,
);
const isWhole = Object.values(offProvider).every((off) => off.length === 0);
process.exit(wrong.length === 0 && isWhole && rates.every(({ error }) => error === undefined) ? 0 : 1);
