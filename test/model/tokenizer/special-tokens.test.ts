/**
 * What the files beside tokenizer.json say of its class and of special tokens: ids and texts of transformers
 * (test/golden/make/tokenizer_config.py and tokenizer_classes.py).
 */
import assert from 'node:assert/strict';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { openRustTokenizer } from '../../../model/tokenizer/rust-tokenizer.ts';
import { readSpecialTokens } from '../../../model/tokenizer/special-tokens.ts';
import { goldenFiles } from '../../support/onebyte.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const { texts, cases }: Golden = JSON.parse(readFileSync(join(goldenFiles, 'tokenizers/configs.json'), 'utf8'));

interface Golden {
  readonly texts: readonly string[];
  readonly cases: readonly {
    readonly model: string;
    /** What is changed in tokenizer_config.json. */
    readonly config: object;
    /** What special_tokens_map.json is; null for none. */
    readonly map: object | null;
    /** Null where transformers does not load them. */
    readonly ids: readonly (readonly number[])[] | null;
  }[];
}

it('special tokens named beside tokenizer.json are tokens as in transformers, or refused', async () => {
  let refused = 0;
  for (const { model, config, map, ids } of cases) {
    if (ids === null) continue;
    const directory = temporaryDirectory();
    const source = join(goldenFiles, 'models', model);
    const own = JSON.parse(readFileSync(join(source, 'tokenizer_config.json'), 'utf8'));
    symlinkSync(join(source, 'tokenizer.json'), join(directory, 'tokenizer.json'));
    writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify({ ...own, ...config }));
    if (map !== null) writeFileSync(join(directory, 'special_tokens_map.json'), JSON.stringify(map));
    const label = `${model} ${JSON.stringify({ config, map })}`;
    try {
      const encoded = await openRustTokenizer(join(directory, 'tokenizer.json'), 2 ** 32).encode(texts);
      assert.deepEqual(
        encoded.map((text) => text.ids),
        ids,
        label,
      );
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.match((error as Error).message, /tokenizer_config.json: split_special_tokens is true/, label);
      refused++;
    }
  }
  assert.equal(refused, 2);
});

it('a tokenizer class, and tokens that files beside tokenizer.json name, count as in transformers, or are refused', async () => {
  const { texts, bases, cases } = JSON.parse(readFileSync(join(goldenFiles, 'tokenizers/classes.json'), 'utf8'));
  const refused = new Map<string, number>();
  for (const { base, parts, files, ids, texts: decoded, named } of cases) {
    if (ids === null) continue;
    const directory = temporaryDirectory();
    for (const [name, content] of Object.entries({ ...files, tokenizer: { ...bases[base], ...parts } }))
      writeFileSync(join(directory, `${name}.json`), JSON.stringify(content));
    const label = JSON.stringify({ base, parts: Object.keys(parts), files });
    try {
      const tokenizer = openRustTokenizer(join(directory, 'tokenizer.json'), 2 ** 32);
      const encoded = (await tokenizer.encode(texts)).map((text) => text.ids);
      assert.deepEqual(encoded, ids, label);
      assert.deepEqual(await tokenizer.decode(encoded), decoded, label);
      const ours = Object.entries(readSpecialTokens(directory).named).filter(([, token]) => typeof token === 'string');
      // A chat template that writes the token which tokenizer.json alone names, for padding, is refused.
      if (parts.padding && !('pad_token' in files.tokenizer_config)) delete named.pad_token;
      assert.deepEqual(Object.fromEntries(ours), named, label);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      const [reason] = /tokenizer_class is GPTNeoXTokenizer/.exec((error as Error).message) ?? [];
      assert(reason !== undefined, `${label}: ${(error as Error).message}`);
      refused.set(reason, (refused.get(reason) ?? 0) + 1);
    }
  }
  assert.deepEqual(Object.fromEntries(refused), { 'tokenizer_class is GPTNeoXTokenizer': 1 });
});

it('a text with the hole that CodeLlama fills in is refused', async () => {
  const directory = temporaryDirectory();
  const { bases } = JSON.parse(readFileSync(join(goldenFiles, 'tokenizers/classes.json'), 'utf8'));
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(bases.pieces));
  writeFileSync(join(directory, 'tokenizer_config.json'), '{"tokenizer_class": "CodeLlamaTokenizer"}');
  const { encode, encodeChats } = openRustTokenizer(join(directory, 'tokenizer.json'), 2 ** 32);
  const text = 'It is a <FILL_ME> film';
  const expected = '<FILL_ME> asks CodeLlamaTokenizer to fill in what is missing, which is not done here';
  await assert.rejects(encode([text]), { message: expected });
  assert.deepEqual(await encodeChats([{ text, generated: [] }]), [{ refused: expected }]);
});

it('a tokenizer.json for one version of transformers is refused', () => {
  const directory = temporaryDirectory();
  symlinkSync(join(goldenFiles, 'models/qwen2/tokenizer.json'), join(directory, 'tokenizer.json'));
  const files = ['tokenizer.json', 'tokenizer.4.0.0.json'];
  writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify({ fast_tokenizer_files: files }));
  assert.throws(() => readSpecialTokens(directory), /fast_tokenizer_files names tokenizer\.4\.0\.0\.json/);
});

it('a space before each text that only tokenizer_config.json asks for is refused', () => {
  const directory = temporaryDirectory();
  symlinkSync(join(goldenFiles, 'models/qwen2/tokenizer.json'), join(directory, 'tokenizer.json'));
  writeFileSync(join(directory, 'tokenizer_config.json'), '{"add_prefix_space": true}');
  assert.throws(
    () => openRustTokenizer(join(directory, 'tokenizer.json'), 2 ** 32),
    /add_prefix_space: true; let both say/,
  );
});
