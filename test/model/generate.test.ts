/** Texts that models write: against transformers' generate, and what ends and draws them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openBaseModel } from '../../model/base-model.ts';
import { type GenerationRules, generateTexts } from '../../model/generate.ts';
import { type Continuation, createContinuation } from '../../model/runtime/continuation.ts';
import { createForward } from '../../model/runtime/forward.ts';
import { chooseToken } from '../../model/sampling.ts';
import { GrowingText } from '../../model/tokenizer/growing-text.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer/tokenizer.ts';
import { readFixtureAdapter } from '../support/fixture-adapter.ts';
import { onCpu } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';
import { skipWithoutSmollm2, smollm2Directory } from '../support/smollm2.ts';

/** An HF directory of SmolLM2-135M-Instruct, where there is one. */
const GREEDY: GenerationRules = { temperature: 0, topP: 1, seed: 0, maxTokens: 24, stop: [], endIds: new Set() };

// python test/golden/make/generation.py test/golden SMOLLM2_DIRECTORY > test/golden/generation.json
const { smollm2, ...fixtures } = JSON.parse(readFileSync(join(goldenFiles, 'generation.json'), 'utf8'));

/** The likeliest tokens behind each prompt, at most `tokens`. */
async function greedy(continuation: Continuation, prompts: readonly number[][], tokens: number): Promise<number[][]> {
  const found: number[][] = prompts.map(() => []);
  await continuation.continueRows(prompts, async (row, logits) => {
    const id = chooseToken(logits, GREEDY, Math.random);
    return found[row]!.push(id) < tokens ? id : undefined;
  });
  return found;
}

describe('a greedy continuation is that of transformers', () => {
  for (const [name, { prompts, ...variants }] of Object.entries<Record<string, number[][]>>(fixtures))
    it(name, async () => {
      const directory = join(goldenFiles, name);
      const model = openBaseModel(directory);
      assert(Object.values(variants).flat(2).length > 0, 'there is something to compare');
      for (const [variant, expected] of Object.entries(variants)) {
        const adapter = variant === 'base' ? undefined : readFixtureAdapter(join(directory, 'adapter'), model);
        const continuation = await createContinuation(model, adapter, onCpu);
        const got = await greedy(continuation, prompts!, 24);
        await continuation.close();
        // A golden row ends early where two tokens are too close to tell apart.
        assert.deepEqual(
          expected.map((ids, row) => got[row]!.slice(0, ids.length)),
          expected,
          variant,
        );
      }
    });

  it('SmolLM2, ids and text', { skip: skipWithoutSmollm2 }, async () => {
    const tokenizer = await loadTokenizer(smollm2Directory);
    const continuation = await createContinuation(openBaseModel(smollm2Directory), undefined, { ...onCpu, threads: 2 });
    const prompts = (await tokenizer.encode(smollm2.texts)).map(({ ids }) => ids);
    const rules = { ...GREEDY, maxTokens: 48, endIds: tokenizer.endIds };
    const texts = await generateTexts({ continuation, tokenizer }, prompts, rules);
    tokenizer.close();
    await continuation.close();
    smollm2.base.forEach((ids: number[], row: number) => {
      assert.deepEqual(texts[row]!.ids.slice(0, ids.length), ids);
      assert(texts[row]!.text.startsWith(smollm2.continuations[row]));
    });
  });
});

describe('generated text', () => {
  const directory = join(goldenFiles, 'models/llama');
  const model = openBaseModel(directory);
  let continuation: Continuation;
  let tokenizer: Tokenizer;
  let prompt: number[];

  before(async () => {
    tokenizer = await loadTokenizer(directory);
    continuation = await createContinuation(model, undefined, onCpu);
    prompt = [...(await tokenizer.encode(['the film was']))[0]!.ids];
  });
  after(async () => {
    tokenizer.close();
    await continuation.close();
  });

  const write = async (
    rules: Partial<GenerationRules>,
    prompts = [prompt],
    tell?: (row: number, text: string) => void,
  ) => generateTexts({ continuation, tokenizer }, prompts, { ...GREEDY, ...rules }, 0, tell);

  it('follows a long prompt, read in pieces, by the logits of one pass', async () => {
    const model = openBaseModel(join(goldenFiles, 'models/mistral'));
    const long = Array.from({ length: 400 }, (_, i) => (i * 7) % 90);
    const forward = await createForward(model, undefined, onCpu);
    const expected = await forward.logits([{ ids: [...long, 0], labels: [400] }], 1);
    await forward.close();
    const continuation = await createContinuation(model, undefined, onCpu);
    await continuation.continueRows([long], async (_, logits) => {
      // Sums over keys in other orders.
      for (const [id, logit] of expected.entries()) assert(Math.abs(logits[id]! - logit) < 1e-4, `${id}`);
      return undefined;
    });
    await continuation.close();
  });

  it('is the decoded text of its tokens, told as it grows', async () => {
    let told = '';
    const [{ text, ids, ended }] = (await write({}, [prompt], (_, part) => (told += part))) as [never];
    const [before, whole] = await tokenizer.decode([prompt, [...prompt, ...(ids as number[])]]);
    assert.equal(before + text, whole);
    assert.equal(told, text);
    assert.equal(ended, 'length');
  });

  it('ends with an ending token, which gives no text, and at the first stop text', async () => {
    const [free] = await write({});
    const endId = free!.ids.find((id, i) => i > 2 && free!.ids.indexOf(id) === i)!;
    const [ended] = await write({ endIds: new Set([endId]) });
    assert.deepEqual(ended!.ids, free!.ids.slice(0, free!.ids.indexOf(endId) + 1));
    assert.equal(ended!.ended, 'end');
    const stop = free!.text.slice(4, 7);
    let told = '';
    const [stopped] = await write({ stop: ['not in the text', stop] }, [prompt], (_, part) => (told += part));
    assert.deepEqual([stopped!.text, stopped!.ended], [free!.text.slice(0, free!.text.indexOf(stop)), 'stop']);
    assert.equal(told, stopped!.text, 'nothing of the stop text was told');
  });

  it('of a seed is the same alone and beside other rows, and another of another seed', async () => {
    const drawn = { temperature: 1, topP: 0.9, seed: 5 };
    const [alone] = await write(drawn);
    const [beside] = await write(drawn, [prompt, [...prompt, 5, 6, 7]]);
    assert.deepEqual(beside!.ids, alone!.ids);
    assert.notDeepEqual((await write({ ...drawn, seed: 6 }))[0]!.ids, alone!.ids);
  });

  it('ends where the model reaches no further', async () => {
    const long = Array.from({ length: model.maxPositions - 2 }, (_, i) => i % 90);
    const [end] = await write({}, [long]);
    assert.deepEqual([end!.ids.length, end!.ended], [3, 'length']);
  });
});

describe('a character of several tokens', () => {
  it('is given whole, and what stays incomplete at the end', async () => {
    // Bytes as tokens, as byte-level tokenizers have them.
    const decode = async (rows: readonly (readonly number[])[]) => rows.map((ids) => Buffer.from(ids).toString('utf8'));
    const growing = new GrowingText({ decode }, [...Buffer.from('ab')]);
    const parts: string[] = [];
    for (const byte of Buffer.from('é日!').subarray(0, 6)) parts.push(await growing.add(byte));
    assert.deepEqual(parts, ['', 'é', '', '', '日', '!']);
    assert.equal(await growing.add(0xe6), '');
    assert.equal(await growing.end(), '\ufffd');
  });
});

describe('a token that is drawn', () => {
  const logits = Float32Array.of(
    Math.log(0.1),
    Math.log(0.5),
    Math.log(0.15),
    Math.log(0.25),
    Number.NEGATIVE_INFINITY,
  );
  const shares = (rules: { temperature: number; topP: number }): number[] => {
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < 1000; i++) counts[chooseToken(logits, rules, () => i / 1000)]!++;
    return counts.map((count) => count / 1000);
  };
  const near = (got: number[], expected: number[]) =>
    got.forEach((share, i) => {
      assert(Math.abs(share - expected[i]!) < 0.002, `${got}, expected ${expected}`);
    });

  it('is drawn by its probability', () => near(shares({ temperature: 1, topP: 1 }), [0.1, 0.5, 0.15, 0.25, 0]));
  it('at a temperature is drawn by the power of it', () => {
    const powers = [0.01, 0.25, 0.0225, 0.0625, 0].map((power) => power / 0.345);
    near(shares({ temperature: 0.5, topP: 1 }), powers);
  });
  it('is one of the fewest that are topP likely together', () => {
    near(shares({ temperature: 1, topP: 0.7 }), [0, 2 / 3, 0, 1 / 3, 0]);
    near(shares({ temperature: 1, topP: 0.4 }), [0, 1, 0, 0, 0]);
  });
  it('is the first of the likeliest at temperature 0', () => {
    assert.equal(chooseToken(Float32Array.of(1, 3, 3, 2), { temperature: 0, topP: 1 }, assert.fail), 1);
  });
});
