/** Ids against those of the Rust tokenizers' Python binding, the boundary of prompt and completion, and files that are refused. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import seedrandom from 'seedrandom';
import { completionRow } from '../../../model/token-row.ts';
import { openRustTokenizer } from '../../../model/tokenizer/rust-tokenizer.ts';
import { type EncodedRow, encodeRows, loadTokenizer, type Tokenizer } from '../../../model/tokenizer/tokenizer.ts';
import { OperatingError } from '../../../proto/operating-error.ts';
import { nastyLines } from '../../support/nasty-text.ts';
import { goldenFiles, goldenModels, tinyReviews } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { tokenizerKinds } from '../../support/tokenizer-kinds.ts';
import { TOKENIZER_VARIANTS } from '../../support/tokenizer-variants.ts';

const MODELS = join(goldenFiles, 'models');
const TINY = join(tinyReviews, 'model');
const golden = (name: string) => JSON.parse(readFileSync(join(goldenFiles, 'tokenizers', name), 'utf8'));

function directoryWith(json: unknown): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, 'tokenizer.json'), typeof json === 'string' ? json : JSON.stringify(json));
  return directory;
}

/** Within this process, as many tokenizers take no time so. */
const open = (json: unknown) => openRustTokenizer(join(directoryWith(json), 'tokenizer.json'), 2 ** 32);

async function load(test: TestContext, json: unknown, config?: unknown): Promise<Tokenizer> {
  const directory = directoryWith(json);
  if (config !== undefined) writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(config));
  return closing(test, loadTokenizer(directory));
}

/** Ends the tokenizer's process with the test. */
async function closing(test: TestContext, loading: Promise<Tokenizer>): Promise<Tokenizer> {
  const tokenizer = await loading;
  test.after(() => tokenizer.close());
  return tokenizer;
}

async function idsOf(tokenizer: Tokenizer, text: string): Promise<readonly number[]> {
  return (await tokenizer.encode([text]))[0]!.ids;
}

async function encodeRow(tokenizer: Tokenizer, prompt: string, completion: string, appendEos = false) {
  return ((await encodeRows(tokenizer, [{ prompt, options: [completion] }], appendEos))[0] as EncodedRow[])[0]!;
}

/** The first 4 bytes of sha-256 of the ids as little-endian 32-bit integers. */
const fingerprint = (ids: readonly number[]): Buffer =>
  createHash('sha256').update(Uint32Array.from(ids)).digest().subarray(0, 4);

describe('the ids of a text', () => {
  for (const fixture of goldenModels())
    it(`are those of transformers, and so is the boundary: ${fixture}`, async (t) => {
      const { examples } = JSON.parse(readFileSync(join(MODELS, fixture, 'expected.json'), 'utf8'));
      const tokenizer = await closing(t, loadTokenizer(join(MODELS, fixture)));
      for (const { prompt, completion, ids, n_tokens, n_completion_tokens } of examples) {
        const { leading, ...row } = await encodeRow(tokenizer, prompt, completion);
        assert.deepEqual(row, { ...completionRow(ids, n_tokens - n_completion_tokens), merged: false });
      }
    });

  const nasty = golden('nasty-lines.json');
  const lines = nastyLines('tokenizer', 2000);
  for (const [name, json] of Object.entries(tokenizerKinds()))
    it(`are the Rust tokenizers' on 2,000 nasty lines: ${name}`, async () => {
      const whole = lines.map((line) => line.replace(/\p{Surrogate}/gu, '\ufffd'));
      const digest = createHash('sha256').update(whole.join('\n')).digest('hex');
      assert.equal(digest, nasty.linesSha256, 'the lines are those of the golden file');
      const expected = Buffer.from(nasty.kinds[name], 'base64');
      const encoded = await open(json).encode(lines);
      encoded.forEach(({ ids }, i) => {
        assert.deepEqual(fingerprint(ids), expected.subarray(4 * i, 4 * i + 4), JSON.stringify(lines[i]));
      });
    });

  it('take a lone surrogate for U+FFFD', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY));
    assert.deepEqual(await idsOf(tokenizer, 'a\ud800b'), await idsOf(tokenizer, 'a\ufffdb'));
    assert.deepEqual(await idsOf(tokenizer, 'a\ud83d\udc4db'), await idsOf(tokenizer, 'a👍b'));
  });

  it('come to whom they belong when several ask at once', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY));
    const texts = ['it', 'was', 'a film'];
    const alone = (await tokenizer.encode(texts)).map(({ ids }) => ids);
    assert.deepEqual(await Promise.all(texts.map((text) => idsOf(tokenizer, text))), alone);
  });

  it('may be of a row of 360,000 characters', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY));
    const ids = await idsOf(tokenizer, 'it was 👍 '.repeat(36_000));
    assert.deepEqual(ids.slice(0, 5), (await idsOf(tokenizer, 'it was 👍 it')).slice(0, 5));
    assert(ids.length > 100_000);
    assert((await idsOf(tokenizer, 'x'.repeat(360_000))).length > 1000);
  });
});

describe('each component of tokenizer.json is computed as the Rust tokenizers do', () => {
  const { texts, bases, cases } = golden('components.json');
  for (const [name, { base, parts, without, encoded }] of Object.entries<Record<string, unknown>>(cases))
    it(name, async () => {
      const json = { ...bases[base as string], ...(parts as object) };
      for (const key of without as string[]) delete json[key];
      const ours = await open(json).encode(texts);
      assert.deepEqual(
        ours.map(({ leading, trailing, ids }) => [leading, trailing, ...ids]),
        encoded,
      );
    });
});

describe('a row', () => {
  const llama = (t: TestContext) => closing(t, loadTokenizer(join(MODELS, 'llama')));

  it('keeps what the post-processor puts before the prompt, once', async (t) => {
    const tokenizer = await llama(t);
    const [bos] = await idsOf(tokenizer, '');
    const { ids, labels, leading } = await encodeRow(tokenizer, 'The film was', ' good');
    assert.equal(leading, 1);
    assert.equal(ids.indexOf(bos!), ids.lastIndexOf(bos!));
    assert.deepEqual(ids.slice(0, labels[0]), await idsOf(tokenizer, 'The film was'));
  });

  it('has an empty prompt, of which only the special token is left', async (t) => {
    assert.equal((await encodeRow(await llama(t), '', 'good')).labels[0], 1);
    assert.equal((await encodeRow(await closing(t, loadTokenizer(TINY)), '', 'good')).labels[0], 0);
  });

  it('counts as merged where tokens of the prompt change, and they become completion', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY));
    const { ids, labels, merged } = await encodeRow(tokenizer, 'It was a fil', 'm');
    assert(merged);
    assert.deepEqual(ids, await idsOf(tokenizer, 'It was a film'));
    assert.deepEqual(ids.slice(0, labels[0]), await idsOf(tokenizer, 'It was a'));
  });

  it('does not take a special token after the prompt for a merge', async (t) => {
    const around = TOKENIZER_VARIANTS['bos and eos around the text'];
    const tokenizer = await load(t, around, { eos_token: { content: '<eos>' } });
    const row = await encodeRow(tokenizer, 'The film', ' was', true);
    assert.deepEqual([row.leading, row.merged], [1, false]);
    assert.deepEqual(row.ids.slice(0, row.labels[0]), (await idsOf(tokenizer, 'The film')).slice(0, -1));
    assert.deepEqual([row.ids.at(-1), row.ids.at(-2) === tokenizer.eosId], [tokenizer.eosId, false]);
    assert.equal((await encodeRow(tokenizer, '', 'was')).labels[0], 1);
  });

  it('has its boundary in a vocabulary of four letters, where other texts give no token', async (t) => {
    const letters = { '<s>': 0, A: 1, C: 2, G: 3, T: 4 };
    const { cases, bases } = golden('components.json');
    const template = cases['post_processor TemplateProcessing: around'].parts.post_processor;
    const special_tokens = { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] }, '</s>': template.special_tokens['</s>'] };
    const model = { ...bases.pieces.model, vocab: letters, merges: [], unk_token: null };
    const post_processor = { ...template, special_tokens };
    const tokenizer = await load(t, { ...bases.pieces, added_tokens: [], model, post_processor });
    const row = await encodeRow(tokenizer, 'ACG', 'TA');
    assert.deepEqual(row, { ...completionRow([0, 1, 2, 3, 4, 1, 2], 4), leading: 1, merged: false });
    const none = await encodeRow(tokenizer, 'x', 'y');
    assert.deepEqual(none.labels, [], 'nothing of the text is left, so no completion');
  });

  it('gets an end-of-text token only when asked', async (t) => {
    const tokenizer = await llama(t);
    const plain = (await encodeRow(tokenizer, 'The', ' film')).ids;
    assert.deepEqual((await encodeRow(tokenizer, 'The', ' film', true)).ids, [...plain, tokenizer.eosId]);
    assert.deepEqual((await encodeRow(tokenizer, 'The', ' film<eos>', true)).ids, [...plain, tokenizer.eosId]);
    const nameless = await load(t, TOKENIZER_VARIANTS.qwen2);
    await assert.rejects(encodeRow(nameless, 'The', ' film', true), /appendEos is asked for/);
    writeFileSync(join(nameless.directory, 'config.json'), '{"eos_token_id":[7,8]}');
    assert.equal((await closing(t, loadTokenizer(nameless.directory))).eosId, 7);
    const unknown = await closing(t, loadTokenizer(nameless.directory, 7));
    await assert.rejects(
      encodeRow(unknown, 'The', ' film', true),
      /appendEos .* names an end-of-text token that the model has/,
    );
  });
});

describe('a tokenizer is refused by name', () => {
  const qwen2 = TOKENIZER_VARIANTS.qwen2 as Record<string, unknown>;
  const added = { content: 'x', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const dropout = { ...(qwen2.model as object), dropout: 0.1 };
  const charsmap = { type: 'Precompiled', precompiled_charsmap: '/////wAAAAA=' };
  const BAD: [name: string, json: unknown, message: RegExp][] = [
    ['is no JSON', '{', /tokenizer.json: not a tokenizer that is supported: .* in JSON at position 1/],
    ['is a list', [], /tokenizer.json: not a tokenizer that is supported: invalid type: sequence/],
    ['has no model', { ...qwen2, model: null }, /not a tokenizer that is supported/],
    ['has a model of an unknown type', { ...qwen2, model: { type: 'X' } }, /did not match any variant/],
    ['has an unknown pre-tokenizer', { ...qwen2, pre_tokenizer: { type: 'X' } }, /not a tokenizer that is supported/],
    ['has an id that is no index', { ...qwen2, added_tokens: [{ id: -1, ...added }] }, /integer `-1`/],
    ['has an id beyond 32 bits', { ...qwen2, added_tokens: [{ id: 2 ** 40, ...added }] }, /integer `1099511627776`/],
    ['draws other ids every time', { ...qwen2, model: dropout }, /model.dropout is 0.1/],
    [
      'makes the library panic',
      { ...qwen2, normalizer: charsmap },
      /the tokenizers library gave up: .*Cannot parse precompiled_charsmap/,
    ],
  ];
  for (const [name, json, message] of BAD)
    it(`when it ${name}`, (t) => assert.rejects(load(t, json), { name: 'OperatingError', message }));

  it('when it is not there, is too large, or its config has another shape', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'tokenizer.json');
    await assert.rejects(loadTokenizer(directory), /tokenizer.json: cannot be read/);
    copyFileSync(join(TINY, 'tokenizer.json'), file);
    writeFileSync(join(directory, 'tokenizer_config.json'), '{"eos_token": 5}');
    await assert.rejects(loadTokenizer(directory), /tokenizer_config.json: .*eos_token/s);
    writeFileSync(join(directory, 'tokenizer_config.json'), '{}');
    truncateSync(file, 2 ** 28 + 1);
    await assert.rejects(loadTokenizer(directory), /^OperatingError: .*tokenizer.json: 268435457 bytes, at most/);
  });

  it('or gives ids, whatever its values are (12 mutations)', async (t) => {
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
    for (let n = 0; n < 12; n++)
      try {
        const tokenizer = await load(t, mutate(Object.values(TOKENIZER_VARIANTS)[n % 12], 1 + (n % 4)));
        for (const id of await idsOf(tokenizer, 'The film 12 👍')) assert(Number.isSafeInteger(id));
        tokenizer.close();
      } catch (error) {
        assert(error instanceof OperatingError, `mutation ${n}: ${error instanceof Error ? error.stack : error}`);
      }
  });
});

describe('a text is refused by name', () => {
  it('when it has a token that the model does not know', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY, 300));
    await assert.rejects(
      tokenizer.encode(['it', 'a good film']),
      /tokenizer.json: cannot encode "a good film": token .* has id \d+, the model of this directory knows ids below 300/,
    );
  });

  it('when the library panics at it, and the texts after it are encoded', async (t) => {
    const { bases } = golden('components.json');
    const backtracks = { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false };
    const tokenizer = await load(t, { ...bases.pieces, pre_tokenizer: backtracks });
    const bad = `${'a'.repeat(50)}!`;
    await assert.rejects(tokenizer.encode(['good', bad, 'film']), {
      name: 'OperatingError',
      exitCode: 2,
      message: /tokenizer.json: cannot encode "aaaa.*: the tokenizers library gave up: .*retry-limit/,
    });
    assert.equal((await idsOf(tokenizer, 'good')).length, 1);
  });

  it('and what ends the process in another way is no fault of the text', async (t) => {
    const tokenizer = await closing(t, loadTokenizer(TINY));
    const encoding = tokenizer.encode(['it was '.repeat(10_000)]);
    await Promise.resolve();
    tokenizer.close();
    await assert.rejects(encoding, { name: 'OperatingError', exitCode: 1, message: /ended with SIGKILL/ });
    assert.deepEqual(await idsOf(tokenizer, 'it'), await idsOf(tokenizer, 'it'));
  });
});
