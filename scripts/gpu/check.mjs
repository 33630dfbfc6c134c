// What a GPU does with this project, beside PyTorch: fixtures, rates, memory. Prints a table, then one line of JSON.
// node check.mjs ONEBYTE PROJECT [--dry-run]: ONEBYTE is bin/onebyte.js of the package, PROJECT holds test/golden/models and examples.
// --dry-run: everything once on the CPU with the smallest sizes and without PyTorch, to see that it runs.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { phasesOf } from './phases.mjs';
import { start } from './start.mjs';

const [onebyte, project, ...flags] = process.argv.slice(2);
const dry = flags.includes('--dry-run');
const here = import.meta.dirname;
const work = mkdtempSync(join(tmpdir(), 'onebyte-gpu-'));
const begin = performance.now();

/** Providers with the precisions that are checked on each. WebGPU first: compiling its kernels takes longest. */
const PROVIDERS = dry
  ? { cpu: ['float32', 'bfloat16', 'float16'] }
  : { webgpu: ['float32'], cuda: ['float32', 'tf32', 'bfloat16', 'float16'] };
/** How far a fixture's summed loss may be off, relative: products of fewer bits (test/model/precision.test.ts); float32 by the fixture's own. */
const TOLERANCES = { tf32: 5e-4, bfloat16: 6e-3, float16: 1e-3 };

const seconds = () => Math.round((performance.now() - begin) / 1000);
/** What was said, with the seconds since the beginning. */
const said = [];
const say = (text) => {
  said.push([seconds(), text]);
  process.stderr.write(`${seconds()} s: ${text}\n`);
};

/** The JSON that a command of ours ends with: all that it writes to stdout. */
const run = async (...args) => {
  const { lines, error } = await start(process.execPath, [onebyte, ...args]).result;
  return error === undefined ? (lines.at(-1) ?? { error: 'it printed no JSON' }) : { error };
};

/** The GPU that `cuda` and PyTorch take, as nvidia-smi names it. */
const GPU = process.env.CUDA_VISIBLE_DEVICES?.split(',')[0]?.trim() || '0';

/** The most MiB used on the GPU while `task` runs, sampled twice a second; undefined where nvidia-smi does not say. */
async function withPeak(task) {
  let peakMiB;
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '-lms', '500', '-i', GPU];
  const smi = spawn('nvidia-smi', query, { stdio: ['ignore', 'pipe', 'ignore'] }).on('error', () => {});
  smi.stdout.on('data', (text) => {
    const used = String(text).split('\n').map(Number.parseFloat).filter(Number.isFinite);
    if (used.length > 0) peakMiB = Math.max(peakMiB ?? 0, ...used);
  });
  const result = await task();
  smi.kill();
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

const ESTIMATORS = ['spsa', 'forward', 'backward'];

/** Rates of the model at the worker's own precision, each estimator's at the best of two minibatches. */
async function ownRates(shape, model) {
  const provider = dry ? 'cpu' : 'cuda';
  const sizes = dry
    ? ['--adapters', '2', '--directions', '2', '--runs', '1']
    : ['--adapters', '32', '--rows', '4', '--rows', '64', '--directions', '16', '--runs', '3'];
  const out = await withPeak(() =>
    run('bench', 'forward', '--model', model, '--provider', provider, ...sizes, '--no-profile', '--json'),
  );
  if (out.error !== undefined) {
    say(`${shape}, ${provider}: ${out.error}`);
    return { shape, provider, error: out.error };
  }
  const best = (estimator) =>
    Math.max(...out.directions.filter((row) => row.estimator === estimator).map((row) => row.rowDirectionsPerSecond));
  const row = {
    shape,
    provider,
    precision: out.settings.precision,
    withAdapters: Math.round(out.rows[0].tokensPerSecond),
    without: Math.round(out.rows[1].tokensPerSecond),
    ratio: Number(out.ratio.toFixed(2)),
    ...Object.fromEntries(ESTIMATORS.map((estimator) => [estimator, Math.round(best(estimator))])),
    deviceMiB: out.deviceMiB,
  };
  say(`${shape}, ${provider}: ${JSON.stringify(row)}`);
  return { ...row, each: out.directions };
}

/** PyTorch's rates of the models by their names, measured by its `process`. */
async function torchRates(models, process) {
  if (process === undefined) return Object.fromEntries(models.map(([name]) => [name, { skipped: 'dry run' }]));
  process.stdin?.end(models.map(([, at]) => `${at}\n`).join(''));
  const found = await process.result;
  return Object.fromEntries(
    models.map(([name], i) => {
      const torch = found.lines[i] ?? { error: found.error ?? 'it printed nothing for this model' };
      say(`${name}, PyTorch: ${torch.error ?? JSON.stringify(torch.rates)}`);
      if (torch.error !== undefined) return [name, torch];
      return [name, { ...torch, best: Math.max(...Object.values(torch.rates).flatMap(Object.values)) }];
    }),
  );
}

/** `row` with what its rates are beside the best of PyTorch's. */
const besideTorch = (row, best) =>
  best === undefined || row.error !== undefined
    ? row
    : { ...row, ...Object.fromEntries(ESTIMATORS.map((e) => [`${e}/PyTorch`, Number((row[e] / best).toFixed(2))])) };

/** What run.yaml may have on a GPU, where launches take the time of a small pass (docs/tuning.md, Adapter). */
const MANY_DIRECTIONS = ['--set', 'learning.directions=16', '--set', 'learning.learningRate=1e-3'];

/** Whole runs of the SmolLM2 example on the GPU: accuracy of the test split, and where the seconds went. */
async function exampleRun(file, ...flags) {
  const example = join(project, 'examples/smollm2-sentiment');
  if (dry) return { skipped: 'dry run' };
  if (!existsSync(join(example, 'model'))) return { skipped: 'no weights in examples/smollm2-sentiment/model' };
  const out = join(work, file);
  const start = Date.now();
  const fixed = ['--set', 'worker.provider=cuda', '--out', out, '--json'];
  const result = await run('simulate', join(example, file), ...fixed, ...flags);
  const end = Date.now();
  if (result.error !== undefined) {
    say(`SmolLM2, ${file}: ${result.error}`);
    return result;
  }
  const phases = phasesOf(readFileSync(join(out, 'metrics.jsonl'), 'utf8'), start, end);
  say(`SmolLM2, ${file}: accuracy ${result.accuracyAfter}, ${JSON.stringify(phases)}`);
  return { ...result, ...phases };
}

const models = join(project, 'test/golden/models');
const names = readdirSync(models, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => join(models, name))
  .filter((directory) => existsSync(join(directory, 'expected.json')));
// Beside the fixtures PyTorch is imported, which takes longer than its measuring, and waits; and the models below are written.
const pyTorch = dry ? undefined : start('python3', [join(here, 'mezo_rates.py'), '64', '0.5']);
const shapes = (dry ? ['tiny'] : ['135M', '1.2B']).map((name) => [name, join(work, name)]);
const written = shapes.map(([name, at]) => start(process.execPath, [join(here, 'random-model.mjs'), name, at]).result);

const fixtures = [];
const offProvider = {};
/** Of the graph of the shapes below, small: where its nodes run does not depend on the size. */
async function findOff(provider) {
  const sizes = ['--adapters', '2', '--directions', '2', '--runs', '1', '--json'];
  const out = await run('bench', 'forward', '--model', join(models, 'llama'), '--provider', provider, ...sizes);
  offProvider[provider] = out.error ?? out.offProvider;
  say(`${provider}, nodes off the provider: ${JSON.stringify(offProvider[provider])}`);
}
const checks = Object.entries(PROVIDERS).flatMap(([provider, precisions]) => [
  () => findOff(provider),
  ...precisions.flatMap((precision) =>
    (dry ? names.slice(0, 2) : names).map((directory) => async () => {
      fixtures.push(await fixture(directory, provider, precision));
    }),
  ),
]);
const next = async () => {
  for (let check = checks.shift(); check !== undefined; check = checks.shift()) await check();
};
await Promise.all(Array.from({ length: dry ? 1 : 8 }, next));
say(`fixtures: ${fixtures.filter(({ ok }) => ok).length} of ${fixtures.length} within their tolerances`);
const failures = (await Promise.all(written)).map(({ error }) => error);
say(`models of random weights: ${failures.find((error) => error !== undefined) ?? 'written'}`);
const own = [];
for (const [i, [name, model]] of shapes.entries())
  own.push(failures[i] === undefined ? await ownRates(name, model) : { shape: name, error: failures[i] });
const torch = await torchRates(shapes, pyTorch);
const rates = own.map((row) => besideTorch(row, torch[row.shape].best));
const smollm2 = { spsa: await exampleRun('run.yaml', ...MANY_DIRECTIONS), backward: await exampleRun('backward.yaml') };
rmSync(work, { recursive: true, force: true });

const wrong = fixtures.filter(({ ok }) => !ok);
console.table(wrong.length === 0 ? [{ fixtures: fixtures.length, wrong: 0 }] : wrong);
console.table(rates.map(({ each: _, ...row }) => row));
process.stdout.write(
  `${JSON.stringify({ dryRun: dry, seconds: seconds(), said, fixtures, offProvider, rates, torch, smollm2 })}\n`,
);
const isWhole = Object.values(offProvider).every((off) => off.length === 0);
const measured = [...rates, ...Object.values(torch), ...Object.values(smollm2)];
process.exit(wrong.length === 0 && isWhole && measured.every(({ error }) => error === undefined) ? 0 : 1);
