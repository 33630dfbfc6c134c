/** Ids against transformers' and the Rust tokenizers', the boundary of prompt and completion, and files that are refused. */
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import seedrandom from 'seedrandom';
import { Tokenizer as RustTokenizer } from 'tokenizers';
import { encodeRow, loadTokenizer } from '../../model/tokenizer.ts';
import { OperatingError } from '../../proto/operating-error.ts';
import { nastyLines } from '../support/nasty-text.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { TOKENIZER_VARIANTS } from '../support/tokenizer-variants.ts';

const ROOT = new URL('../../', import.meta.url).pathname;
const MODELS = join(ROOT, 'test/golden/models');
const TINY = join(ROOT, 'examples/tiny-reviews/model');
const fixtures = readdirSync(MODELS).filter((name) => !name.includes('.'));
/** Fixtures whose tokenizer.json is no copy of another's. */
const distinct = new Map(fixtures.map((name) => [readFileSync(join(MODELS, name, 'tokenizer.json'), 'utf8'), name]));
/** An HF directory of SmolLM2-135M-Instruct, where there is one. */
const SMOLLM2 = process.env.ONEBYTE_SMOLLM2;

const load = (test: TestContext, json: unknown, config?: unknown) => {
  const directory = temporaryDirectory(test);
  writeFileSync(join(directory, 'tokenizer.json'), typeof json === 'string' ? json : JSON.stringify(json));
  if (config !== undefined) writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(config));
  return loadTokenizer(directory);
};

/** The one difference that is left: a U+FEFF after an added token that strips the white space behind it. */
const STRIPPED = /<\/s>\s*\ufeff/;

async function assertRustIds(directory: string): Promise<void> {
  const ours = loadTokenizer(directory);
  const rust = RustTokenizer.fromFile(join(directory, 'tokenizer.json'));
  const lines = nastyLines('tokenizer', 2000).map((line) => line.replace(/\p{Surrogate}/gu, '\ufffd'));
  const theirs = await rust.encodeBatch(lines);
  lines.forEach((line, i) => {
    if (!STRIPPED.test(line)) assert.equal(`${ours.encode(line)}`, `${theirs[i]!.getIds()}`, JSON.stringify(line));
  });
}

describe('the ids of a text', () => {
  for (const fixture of fixtures)
    it(`are those of transformers, and so is the boundary: ${fixture}`, () => {
      const { examples } = JSON.parse(readFileSync(join(MODELS, fixture, 'expected.json'), 'utf8'));
      const tokenizer = loadTokenizer(join(MODELS, fixture));
      for (const { prompt, completion, ids, n_tokens, n_completion_tokens } of examples)
        assert.deepEqual(encodeRow(tokenizer, prompt, completion), {
          ids,
          firstCompletion: n_tokens - n_completion_tokens,
          merged: false,
        });
    });

  for (const directory of [...Array.from(distinct.values(), (name) => join(MODELS, name)), TINY])
    it(`are the Rust tokenizer's on 2,000 nasty lines: ${directory.slice(ROOT.length)}`, () =>
      assertRustIds(directory));

  for (const [name, json] of Object.entries(TOKENIZER_VARIANTS))
    it(`are the Rust tokenizer's on 2,000 nasty lines: the shape of ${name}`, async (t) => {
      const { directory } = load(t, json);
      await assertRustIds(directory);
    });

  it(
    "are the Rust tokenizer's on 2,000 nasty lines: SmolLM2",
    { skip: SMOLLM2 === undefined && 'ONEBYTE_SMOLLM2 does not name its directory (3.5 MB, not in this repository)' },
    () => assertRustIds(SMOLLM2 ?? ''),
  );

  it('take a lone surrogate for U+FFFD', () => {
    const { encode } = loadTokenizer(TINY);
    assert.deepEqual(encode('a\ud800b'), encode('a\ufffdb'));
    assert.deepEqual(encode('a\ud83d\udc4db'), encode('a👍b'));
  });
});

describe('a row', () => {
  const llama = loadTokenizer(join(MODELS, 'llama'));
  const [bos] = llama.encode('');

  it('keeps what the post-processor puts before the prompt, once', () => {
    assert.equal(llama.leading, 1);
    const { ids, firstCompletion } = encodeRow(llama, 'The film was', ' good');
    assert.equal(ids.indexOf(bos!), ids.lastIndexOf(bos!));
    assert.deepEqual(ids.slice(0, firstCompletion), llama.encode('The film was'));
  });

  it('has an empty prompt, of which only the special token is left', () => {
    assert.equal(encodeRow(llama, '', 'good').firstCompletion, 1);
    assert.equal(encodeRow(loadTokenizer(TINY), '', 'good').firstCompletion, 0);
  });

  it('counts as merged where tokens of the prompt change, and they become completion', () => {
    const tokenizer = loadTokenizer(TINY);
    const { ids, firstCompletion, merged } = encodeRow(tokenizer, 'It was a fil', 'm');
    assert(merged);
    assert.deepEqual(ids, tokenizer.encode('It was a film'));
    assert.deepEqual(ids.slice(0, firstCompletion), tokenizer.encode('It was a'));
  });

  it('does not take a special token after the prompt for a merge', (t) => {
    const tokenizer = load(t, TOKENIZER_VARIANTS['bos and eos around the text'], { eos_token: { content: '<eos>' } });
    assert.deepEqual([tokenizer.leading, tokenizer.trailing], [1, 1]);
    const row = encodeRow(tokenizer, 'The film', ' was', true);
    assert.equal(row.merged, false);
    assert.deepEqual(row.ids.slice(0, row.firstCompletion), tokenizer.encode('The film').slice(0, -1));
    assert.deepEqual([row.ids.at(-1), row.ids.at(-2) === tokenizer.eosId], [tokenizer.eosId, false]);
  });

  it('gets an end-of-text token only when asked', (t) => {
    const plain = encodeRow(llama, 'The', ' film').ids;
    assert.deepEqual(encodeRow(llama, 'The', ' film', true).ids, [...plain, llama.eosId]);
    assert.deepEqual(encodeRow(llama, 'The', ' film<eos>', true).ids, [...plain, llama.eosId]);
    const nameless = load(t, TOKENIZER_VARIANTS.qwen2);
    assert.throws(() => encodeRow(nameless, 'The', ' film', true), /appendEos is asked for/);
    writeFileSync(join(nameless.directory, 'config.json'), '{"eos_token_id":[7,8]}');
    assert.equal(loadTokenizer(nameless.directory).eosId, 7);
  });
});

describe('a tokenizer is refused by name', () => {
  const qwen2 = TOKENIZER_VARIANTS.qwen2!;
  const split = (behavior: string) => ({ type: 'Split', pattern: { Regex: 'a' }, behavior, invert: false });
  const BAD: [name: string, json: unknown, message: RegExp][] = [
    ['is no JSON', '{', /tokenizer.json: not JSON/],
    ['is a list', [], /tokenizer.json: not a tokenizer that is supported/],
    ['has no model', { ...qwen2, model: null }, /not a tokenizer that is supported/],
    ['has a model of an unknown type', { ...qwen2, model: { type: 'X' } }, /Unknown TokenizerModel type: X/],
    ['has an unknown pre-tokenizer', { ...qwen2, pre_tokenizer: { type: 'X' } }, /Unknown PreTokenizer type: X/],
    [
      'splits in a way that the library ignores',
      { ...qwen2, pre_tokenizer: split('Contiguous') },
      /Split with behavior Contiguous/,
    ],
    ['has an id that is no index', { ...qwen2, added_tokens: [{ id: -1, content: 'x' }] }, /token "x" has id -1/],
    ['has an id beyond the limit', { ...qwen2, added_tokens: [{ id: 2 ** 40, content: 'x' }] }, /has id 1099511627776/],
  ];
  for (const [name, json, message] of BAD)
    it(`when it ${name}`, (t) => {
      assert.throws(
        () => load(t, json),
        (error) => error instanceof OperatingError && message.test(error.message),
      );
    });

  it('when it is not there, or its config has another shape', (t) => {
    const directory = temporaryDirectory(t);
    assert.throws(() => loadTokenizer(directory), /tokenizer.json: cannot be read/);
    assert.throws(
      () => loadTokenizer(TINY, 300).encode('a good film'),
      /tokenizer.json: cannot encode .*: token .* has id \d+, the model of this directory knows ids below 300/,
    );
    copyFileSync(join(TINY, 'tokenizer.json'), join(directory, 'tokenizer.json'));
    writeFileSync(join(directory, 'tokenizer_config.json'), '{"eos_token": 5}');
    assert.throws(() => loadTokenizer(directory), /tokenizer_config.json: .*eos_token/s);
  });

  it('or gives ids, whatever its values are (200 mutations)', (t) => {
    const random = seedrandom('tokenizer');
    const values = [null, true, -1, 1e9, '', 'X', [], {}, [[]], { type: 'BPE' }];
    const mutate = (value: unknown, depth: number): unknown => {
      if (depth === 0 || typeof value !== 'object' || value === null)
        return values[Math.floor(random() * values.length)];
      const keys = Object.keys(value);
      const key = keys[Math.floor(random() * keys.length)] ?? 'x';
      const copy: Record<string, unknown> = Array.isArray(value) ? ([...value] as never) : { ...value };
      copy[key] = mutate(copy[key], depth - 1);
      return copy;
    };
    for (let n = 0; n < 200; n++)
      try {
        const { encode } = load(t, mutate(Object.values(TOKENIZER_VARIANTS)[n % 9], 1 + (n % 4)));
        for (const id of encode('The film 12 👍')) assert(Number.isSafeInteger(id));
      } catch (error) {
        assert(error instanceof OperatingError, `mutation ${n}: ${error instanceof Error ? error.stack : error}`);
      }
  });
});
