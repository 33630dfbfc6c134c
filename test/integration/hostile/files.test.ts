/** Files from strangers: a run file, a model's config and tokenizer, data. Each is refused by name, or read; nothing else happens. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { readDataset } from '../../../data/dataset.ts';
import { openBaseModel } from '../../../model/base-model.ts';
import { loadTokenizer } from '../../../model/tokenizer.ts';
import { OperatingError } from '../../../proto/operating-error.ts';
import { readRunFile } from '../../../settings/run-file.ts';
import { mutated } from '../../support/mutate.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const directory = temporaryDirectory({ after });
const example = new URL('../../../examples/tiny-reviews/', import.meta.url).pathname;

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
    const text = readFileSync(join(example, 'run.yaml'));
    for (let i = 0; i < 500; i++) await runFile(mutated(text, random));
  });
});

/** A copy of the example's model. */
function model(name: string): string {
  const copy = join(directory, name);
  mkdirSync(copy);
  cpSync(join(example, 'model'), copy, { recursive: true });
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

describe('a data file', () => {
  it('changed at random is refused or read', async () => {
    const tokenizer = await loadTokenizer(join(example, 'model'));
    const lines = readFileSync(join(example, 'dev.jsonl')).subarray(0, 2000);
    const random = seedrandom('data');
    const file = join(directory, 'data.jsonl');
    for (let i = 0; i < 300; i++) {
      writeFileSync(file, mutated(lines, random));
      await outcome(() => readDataset(file, tokenizer, { maxLength: 64, appendEos: false }));
    }
    tokenizer.close();
  });
});
