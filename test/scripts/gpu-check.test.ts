/** scripts/gpu-check.sh and install-cuda.sh, as far as a machine without a GPU runs them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
// @ts-expect-error: a plain script, which runs where there is no compiler.
import { phasesOf } from '../../scripts/gpu/phases.mjs';
// @ts-expect-error: a plain script too.
import { start } from '../../scripts/gpu/start.mjs';
import { root } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const bash = promisify(execFile);

it('the dry run of gpu-check evaluates fixtures in each precision, measures rates, and ends with one line of JSON', async () => {
  const { stdout } = await bash('bash', [join(root, 'scripts/gpu-check.sh'), '--dry-run']);
  const { dryRun, said, fixtures, offProvider, rates } = JSON.parse(stdout.trim().split('\n').at(-1)!);
  assert.equal(dryRun, true);
  assert.match(said.at(-1).join(' s: '), /^\d+ s: tiny, cpu: {"shape":"tiny",.*"backward":\d+}$/);
  assert.deepEqual(new Set(fixtures.map(({ ok }: { ok: boolean }) => ok)), new Set([true]));
  const precisions = new Set(fixtures.map(({ precision }: { precision: string }) => precision));
  assert.deepEqual(precisions, new Set(['float32', 'bfloat16', 'float16']));
  assert.deepEqual(offProvider, { cpu: [] });
  const estimators = ['spsa', 'forward', 'backward'];
  const measured = rates.map((row: Record<string, number>) => [
    row.precision,
    estimators.every((name) => row[name]! > 0),
  ]);
  assert.deepEqual(measured, [['float32', true]]);
});

it('gpu-check tells all other figures where one command fails and another prints nothing, and ends with 1', async () => {
  const onebyte = join(temporaryDirectory(), 'onebyte.mjs');
  // The losses that are expected of all fixtures but gemma3, and rates of the model without weights alone.
  const script = `
import { readFileSync } from 'node:fs';
const [command, ...flags] = process.argv.slice(2);
const after = (flag) => flags[flags.indexOf(flag) + 1];
if (command === 'eval') {
  const { model } = JSON.parse(readFileSync(after('--run'), 'utf8'));
  const { variants } = JSON.parse(readFileSync(model + '/expected.json', 'utf8'));
  const { nll } = Object.values(variants).find(({ adapter }) => adapter);
  if (!model.endsWith('gemma3')) console.log(JSON.stringify({ examples: nll.map((nll) => ({ nll })) }));
} else if (after('--model').endsWith('tiny')) {
  console.error('onebyte: out of memory');
  process.exitCode = 2;
} else console.log(JSON.stringify({ offProvider: [] }));
`;
  writeFileSync(onebyte, script);
  const check = bash(process.execPath, [join(root, 'scripts/gpu/check.mjs'), onebyte, root, '--dry-run']);
  const { code, stdout } = await check.catch((error) => error);
  const { fixtures, offProvider, rates } = JSON.parse(stdout.trim().split('\n').at(-1)!);
  const gemma = fixtures.filter(({ what }: { what: string }) => what.startsWith('gemma3'));
  assert.deepEqual(
    gemma.map(({ error }: { error: string }) => error),
    ['it printed no JSON', 'it printed no JSON', 'it printed no JSON'],
  );
  assert.equal(fixtures.filter(({ ok }: { ok: boolean }) => ok).length, 3);
  assert.deepEqual({ code, offProvider }, { code: 1, offProvider: { cpu: [] } });
  assert.deepEqual(rates, [{ shape: 'tiny', provider: 'cpu', error: 'onebyte: out of memory' }]);
});

it('gpu-check keeps what a process had measured when it failed', async () => {
  const script = `console.log('{"rates":1}\\nno JSON\\n{"half'); console.error('CUDA is gone'); process.exitCode = 1`;
  const { result } = start(process.execPath, ['-e', script]);
  assert.deepEqual(await result, { lines: [{ rates: 1 }], error: 'CUDA is gone' });
  assert.match((await start('no such program', []).result).error, /ENOENT/);
});

it('gpu-check says where the time of a whole run went', () => {
  const round = (at: number, ms: number, answerMs: number) => JSON.stringify({ kind: 'round', at, ms, answerMs });
  const lines = [
    '{"kind":"start","at":2000}',
    ...[round(9_000, 500, 300), round(9_200, 200, 150), round(10_000, 400, 350)],
    '{"kind":"end","at":10100}',
  ];
  assert.deepEqual(phasesOf(`${lines.join('\n')}\n`, 1_000, 14_000), {
    wholeSeconds: 13,
    startSeconds: 7.5,
    roundsSeconds: 1.5,
    endSeconds: 4,
    medianRoundMs: 400,
    medianAnswerMs: 300,
  });
});

it('gpu-check unpacks what it needs where a package of the Vulkan loader does not unpack', async () => {
  const directory = temporaryDirectory();
  for (const name of ['node', 'node_modules', 'broken.deb']) writeFileSync(join(directory, name), '');
  await bash('tar', ['cJf', 'app.tar.xz', 'node', 'node_modules'], { cwd: directory });
  copyFileSync(join(root, 'scripts/gpu-check.sh'), join(directory, 'gpu-check.sh'));
  const { stderr } = await bash('bash', [join(directory, 'gpu-check.sh'), 'unpack']);
  assert.match(stderr, /broken\.deb is not unpacked .* webgpu may be missing/);
  assert.deepEqual(readdirSync(join(directory, 'app')).sort(), ['node', 'node_modules']);
});

/** A library with kernels of two compute capabilities, as far as keep_architecture.py reads it: 8 bytes of code each. */
function cudaLibrary(): Buffer {
  const kernels = [75, 90].map((capability) => {
    const entry = Buffer.alloc(32 + 8, capability);
    entry.writeUInt16LE(2, 0);
    entry.writeUInt32LE(32, 4);
    entry.writeBigUInt64LE(8n, 8);
    entry.writeUInt32LE(capability, 28);
    return entry;
  });
  const fatBinary = Buffer.alloc(16);
  fatBinary.writeUInt32LE(0xba55ed50, 0);
  fatBinary.writeUInt16LE(16, 6);
  fatBinary.writeBigUInt64LE(80n, 8);
  const names = Buffer.from('.nv_fatbin\0.names\0');
  const sections = [
    { name: 0, at: 64, size: 96 },
    { name: 11, at: 160, size: names.length },
  ].map(({ name, at, size }) => {
    const header = Buffer.alloc(64);
    header.writeUInt32LE(name, 0);
    header.writeBigUInt64LE(BigInt(at), 24);
    header.writeBigUInt64LE(BigInt(size), 32);
    return header;
  });
  const file = Buffer.alloc(64);
  file.writeBigUInt64LE(BigInt(160 + names.length), 0x28);
  for (const [i, value] of [64, sections.length, 1].entries()) file.writeUInt16LE(value, 0x3a + 2 * i);
  return Buffer.concat([file, fatBinary, ...kernels, names, ...sections]);
}

it('keep_architecture blanks the kernels of other capabilities, and fails where none would be left', async () => {
  const [source, target] = ['all.so', 'kept.so'].map((name) => join(temporaryDirectory(), name));
  writeFileSync(source!, cudaLibrary());
  const keep = (capability: string) =>
    bash('python3', [join(root, 'scripts/gpu/keep_architecture.py'), source!, target!, capability]);
  await keep('90');
  const [all, kept] = [readFileSync(source!), readFileSync(target!)];
  assert.deepEqual(kept.subarray(112, 120), Buffer.alloc(8));
  assert.deepEqual([kept.subarray(0, 112), kept.subarray(120)], [all.subarray(0, 112), all.subarray(120)]);
  await assert.rejects(keep('100'), { code: 1, stderr: /all\.so has no kernels of compute capability 100/ });
});

/** As far as install-cuda.sh looks at an installed onnxruntime-node 1.30.0. @returns the directory that has it */
function onnxRuntime(): string {
  const directory = temporaryDirectory();
  const runtime = join(directory, 'node_modules/onnxruntime-node');
  mkdirSync(join(runtime, 'bin/napi-v6/linux/x64'), { recursive: true });
  writeFileSync(join(runtime, 'package.json'), '{\n  "version": "1.30.0"\n}\n');
  return directory;
}

it('install-cuda names cuDNN, which no list of needed libraries has, where the machine lacks it', async () => {
  const [directory, libraries] = [onnxRuntime(), temporaryDirectory()];
  const wheel = join(libraries, 'onnxruntime_gpu-1.30.0-cp312-cp312-linux_x86_64.whl');
  // Any library stands for the provider's two, and for cuDNN.
  const library = join(root, 'node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1');
  copyFileSync(library, join(libraries, 'libcudnn.so.9'));
  const zip = `
import sys, zipfile
wheel, library = sys.argv[1:]
with zipfile.ZipFile(wheel, 'w') as archive:
    for name in ('shared', 'cuda'):
        archive.write(library, f'onnxruntime/capi/libonnxruntime_providers_{name}.so')`;
  await bash('python3', ['-c', zip, wheel, library]);
  const install = async (path: string) => {
    const env = { ...process.env, ONEBYTE_WHEEL: wheel, LD_LIBRARY_PATH: path };
    return (await bash('bash', [join(root, 'scripts/install-cuda.sh'), directory], { env })).stdout;
  };
  assert.match(await install(''), /not found on this machine: libcudnn\.so\.9 - .* nvidia-cudnn-cu13~=9\.0 /);
  assert.doesNotMatch(await install(libraries), /not found/);
});

it('install-cuda refuses a wheel of another version than onnxruntime-node', async () => {
  const directory = onnxRuntime();
  const env = { ...process.env, ONEBYTE_WHEEL: '/tmp/onnxruntime_gpu-1.29.0-cp312-cp312-linux_x86_64.whl' };
  await assert.rejects(bash('bash', [join(root, 'scripts/install-cuda.sh'), directory], { env }), {
    code: 2,
    stderr: /1.29.0.* is another version than onnxruntime-node 1.30.0/,
  });
});
