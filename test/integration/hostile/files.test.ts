/** Files from strangers: a run file, a model's config and tokenizer, data. Each is refused by name, or read; nothing else happens. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { clientAccess } from '../../../cli/client-access.ts';
import { countRows } from '../../../data/dataset.ts';
import { readPeftConfig } from '../../../formats/peft-config.ts';
import { openSafetensors } from '../../../formats/safetensors.ts';
import { fingerprintBaseModel, openBaseModel } from '../../../model/base-model.ts';
import { loadTokenizer } from '../../../model/tokenizer/tokenizer.ts';
import { readLines } from '../../../platform/lines.ts';
import { EXIT, OperatingError } from '../../../proto/operating-error.ts';
import { readRunFile } from '../../../settings/run-file.ts';
import { checkpointProblem } from '../../../trainer/store/checkpoint.ts';
import { createRoundLog, LOG_FORMAT, readRoundLog, reopenRoundLog } from '../../../trainer/store/round-log.ts';
import { mutated } from '../../support/mutate.ts';
import { tinyReviews } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const directory = temporaryDirectory();

/** Calls `read`, which may return or refuse with a message for a person; anything else is a fault. @returns the message */
async function outcome(read: () => unknown): Promise<string | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    assert(error instanceof OperatingError, `${(error as Error).stack}`);
    assert(error.message.length < 5000, 'a message for a person is short');
    return error.message;
  }
}

const runFile = (text: string | Uint8Array, settings: string[] = []): Promise<string | undefined> => {
  const file = join(directory, 'run.yaml');
  writeFileSync(file, text);
  return outcome(() => readRunFile(file, settings));
};
const VALID = 'model: m\ndata: {train: t.jsonl}\n';
const bomb = `${Array.from(
  { length: 30 },
  (_, i) =>
    `a${i}: &a${i} [${Array(9)
      .fill(i === 0 ? 'x' : `*a${i - 1}`)
      .join(', ')}]`,
).join('\n')}\n`;

describe('a run file', () => {
  it('that is right is read', async () => assert.equal(await runFile(VALID), undefined));
  for (const [what, text] of [
    ['whose aliases multiply', bomb],
    ['of more than a MiB', `${VALID}#${'x'.repeat(2 ** 20)}`],
    ['with a key __proto__', `${VALID}__proto__: {rounds: 3}\n`],
    ['with a key __proto__ in a section', `model: m\ndata: {train: t, __proto__: {dev: d}}\n`],
    ['with a key constructor', `${VALID}constructor: {prototype: {rounds: 3}}\n`],
    ['with a key twice', `${VALID}model: n\n`],
    ['with two documents', `${VALID}---\n${VALID}`],
    ['with an unknown tag as a value', `${VALID}rounds: !!js/function "function(){}"\n`],
    ['with a number too large', `${VALID}rounds: 1e999\n`],
    ['with a number that is none', `${VALID}rounds: .nan\n`],
    ['that is a list', '- model\n'],
    ['that is a text', 'model'],
    ['that is empty', ''],
    ['that is no UTF-8', Buffer.from([0xff, 0xfe, 0x00, 0xd8])],
    ['of 20,000 open brackets', '['.repeat(20_000)],
  ] as const)
    it(`${what} is refused`, async () => assert.match((await runFile(text)) ?? 'read', /run\.yaml/));
  for (const setting of [
    '__proto__.rounds=3',
    'constructor.prototype.rounds=3',
    'data.__proto__.dev=x',
    'rounds',
    '=',
    'rounds=[',
    `x=${bomb}`,
  ])
    it(`--set ${setting.slice(0, 30)} is refused, and no prototype is changed`, async () => {
      assert.notEqual(await runFile(VALID, [setting]), undefined);
      assert.equal(({} as { rounds?: unknown }).rounds, undefined);
    });
  it('with an override of a section that is a text is refused or read', async () => {
    await runFile('text', ['rounds=3']);
    await runFile('- 1', ['data.train=3']);
    await runFile(VALID, ['model.x=3']);
  });
  it('changed at random is refused or read', async () => {
    const random = seedrandom('run file');
    const text = readFileSync(join(tinyReviews, 'run.yaml'));
    for (let i = 0; i < 500; i++) await runFile(mutated(text, random));
  });
});

/** A copy of the example's model. */
function model(name: string): string {
  const copy = join(directory, name);
  mkdirSync(copy);
  cpSync(join(tinyReviews, 'model'), copy, { recursive: true });
  return copy;
}

describe('a model directory', () => {
  const copy = model('changed');
  const fuzz = async (name: string, count: number, read: () => unknown): Promise<void> => {
    const file = join(copy, name);
    const right = readFileSync(file);
    const random = seedrandom(name);
    for (let i = 0; i < count; i++) {
      writeFileSync(file, mutated(right, random));
      await outcome(read);
    }
    writeFileSync(file, right);
  };
  it('whose config.json is changed at random is refused or opened', () =>
    fuzz('config.json', 300, () => openBaseModel(copy)));
  it('whose tokenizer.json is changed at random is refused or loaded', () =>
    fuzz('tokenizer.json', 12, async () => {
      const tokenizer = await loadTokenizer(copy);
      await tokenizer.encode(['a good film']);
      tokenizer.close();
    }));
  for (const [name, read] of [
    ['config.json', openBaseModel],
    ['tokenizer.json', loadTokenizer],
  ] as const)
    it(`whose ${name} is a file of 1 GiB is refused before it is read`, async () => {
      const large = model(`large-${name}`);
      truncateSync(join(large, name), 2 ** 30);
      assert.match((await outcome(() => read(large))) ?? 'read', /1073741824 bytes, at most/);
    });
  for (const text of [
    'null',
    '[]',
    '"x"',
    '1',
    '{"__proto__": {"model_type": "llama"}}',
    '{"model_type": {}}',
    '['.repeat(100_000),
  ])
    it(`whose config.json is ${text.slice(0, 30)} is refused`, async () => {
      const file = join(copy, 'config.json');
      const right = readFileSync(file);
      writeFileSync(file, text);
      const message = await outcome(() => openBaseModel(copy));
      writeFileSync(file, right);
      assert.match(message ?? 'read', /config\.json/);
    });
});

describe('what is no regular file', () => {
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const device = join(directory, 'device');
  symlinkSync('/dev/zero', device);
  const rules = { maxLength: 64, appendEos: false };
  const readers: [string, (file: string) => unknown][] = [
    ['a run file', (file) => readRunFile(file)],
    ['a config.json', (file) => openBaseModel(modelWith('config.json', file))],
    ['a tokenizer.json', (file) => loadTokenizer(modelWith('tokenizer.json', file))],
    ['the tokenizer.json that is fingerprinted', (file) => fingerprint(modelWith('tokenizer.json', file))],
    ['an index of weights', (file) => openBaseModel(shardedWith(file))],
    ['weights', openSafetensors],
    ['an adapter_config.json', (file) => readPeftConfig(file, [], () => {})],
    ['rows', (file) => countRows(file, join(tinyReviews, 'model'), rules)],
    ['a round log', readRoundLog],
    ['a join token', (joinTokenFile) => clientAccess('127.0.0.1', { joinTokenFile })],
    ['a certificate', (tlsCa) => clientAccess('127.0.0.1', { tlsCa })],
  ];
  let copies = 0;
  const modelWith = (name: string, file: string): string => {
    const copy = model(`irregular-${copies++}`);
    rmSync(join(copy, name));
    symlinkSync(file, join(copy, name));
    return copy;
  };
  const shardedWith = (file: string): string => {
    const copy = modelWith('model.safetensors', file);
    rmSync(join(copy, 'model.safetensors'));
    symlinkSync(file, join(copy, 'model.safetensors.index.json'));
    return copy;
  };
  const fingerprint = (of: string): Promise<string> => fingerprintBaseModel(openBaseModel(of));
  for (const [what, read] of readers)
    for (const [file, kind] of [
      [pipe, 'a pipe'],
      [device, 'a device'],
    ] as const)
      it(`is refused at once as ${what}: ${kind}`, { timeout: 60_000 }, async () => {
        await assert.rejects(async () => await read(file), {
          exitCode: EXIT.usage,
          message: new RegExp(`cannot be read: it is ${kind}, expected a regular file`),
        });
      });

  it('is no part of a checkpoint', { timeout: 60_000 }, async () => {
    const checkpoint = join(directory, 'checkpoint');
    mkdirSync(checkpoint);
    symlinkSync(pipe, join(checkpoint, 'adapter_model.safetensors'));
    const manifest = join(checkpoint, 'manifest.json');
    writeFileSync(manifest, JSON.stringify({ 'adapter_model.safetensors': '0'.repeat(64) }));
    assert.match((await checkpointProblem(checkpoint)) ?? 'whole', /it is a pipe/);
    rmSync(manifest);
    symlinkSync(pipe, manifest);
    assert.match((await checkpointProblem(checkpoint)) ?? 'whole', /it is a pipe/);
  });
});

it('a file that grows while it is read ends where it did when it was opened', () => {
  const file = join(directory, 'grows.jsonl');
  writeFileSync(file, 'a\n'.repeat(40_000));
  let lines = 0;
  for (const _ of readLines(file)) {
    lines++;
    appendFileSync(file, 'a\n');
  }
  assert.equal(lines, 40_000);
});

it('a manifest names files of its own directory alone: others are neither read nor described', async () => {
  const checkpoint = join(directory, 'manifest');
  mkdirSync(checkpoint);
  const secret = join(directory, 'secret');
  writeFileSync(secret, 'secret');
  const digest = createHash('sha256').update('secret').digest('hex');
  for (const name of ['../secret', secret, '..\\secret'])
    for (const sum of [digest, '0'.repeat(64)]) {
      writeFileSync(join(checkpoint, 'manifest.json'), JSON.stringify({ [name]: sum }));
      const problem = await checkpointProblem(checkpoint);
      assert.match(problem ?? 'whole', /manifest\.json: .*expected the name of a file of this directory/s);
      assert(sum === digest || !problem?.includes(digest));
    }
  for (const shard of ['../model.safetensors', secret]) {
    const copy = model(`index-${shard.length}`);
    rmSync(join(copy, 'model.safetensors'));
    writeFileSync(join(copy, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: shard } }));
    assert.match((await outcome(() => openBaseModel(copy))) ?? 'read', /expected a file in the same directory/);
  }
});

it('the round log, which holds the secret of the run, is for its user alone', async () => {
  const file = join(directory, 'round.log');
  const header = { format: LOG_FORMAT, runConfig: '{}', matrices: Buffer.alloc(0), runSecret: Buffer.alloc(32, 7) };
  await (await createRoundLog(file, header)).close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  chmodSync(file, 0o644);
  await (await reopenRoundLog(file, await readRoundLog(file))).close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

it('a join token that every user can read is warned of, without being shown', () => {
  const file = join(directory, 'token');
  writeFileSync(file, 'correct-horse-battery-staple\n');
  const warned = (mode: number): string[] => {
    const said: string[] = [];
    chmodSync(file, mode);
    clientAccess('127.0.0.1', { joinTokenFile: file }, (text) => said.push(text));
    return said;
  };
  assert.deepEqual(warned(0o600), []);
  assert.deepEqual(warned(0o440), []);
  const [text = '', ...more] = warned(0o644);
  assert.match(text, /token: every user of this machine can read this join token/);
  assert(!text.includes('horse') && more.length === 0);
});
