/** Chats through the templates of test/golden/chats: ids, assistant masks and losses of transformers and PEFT. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBaseModel } from '../../../model/base-model.ts';
import type { Chat } from '../../../model/tokenizer/chat-template.ts';
import type { EncodedChat, Refused } from '../../../model/tokenizer/rust-tokenizer.ts';
import { loadTokenizer } from '../../../model/tokenizer/tokenizer.ts';
import { readFixtureAdapter } from '../../support/fixture-adapter.ts';
import { assertClose, withForward } from '../../support/golden-models.ts';
import { goldenFiles } from '../../support/onebyte.ts';

const golden = join(goldenFiles, 'chats');

interface Expected extends Chat {
  readonly refused?: string;
  readonly ids: number[];
  /** Ids of the chat with a generation prompt. */
  readonly prompt: number[];
  readonly labels: number[];
  readonly nll: { readonly base: number; readonly adapter: number };
}

/** Where a template without marks does not tell where a turn begins. */
const MAY_BE_REFUSED = ['the assistant begins', 'two answers in a row'];

const readExpected = (directory: string): { nll_tolerance: number; chats: Record<string, Expected> } =>
  JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));

for (const name of readdirSync(golden).sort())
  describe(`a chat as ${name} writes it`, () => {
    const directory = join(golden, name);
    const { nll_tolerance, chats } = readExpected(directory);

    it('has the ids and the assistant mask of transformers, or is refused', async (t) => {
      const tokenizer = await loadTokenizer(directory);
      t.after(() => tokenizer.close());
      const encoded = await tokenizer.encodeChats(Object.values(chats));
      const prompts = await tokenizer.encodeChats(Object.values(chats), true);
      for (const [i, [title, expected]] of Object.entries(chats).entries()) {
        const [got, prompt] = [encoded[i]!, prompts[i]!];
        if (expected.refused !== undefined) assert('refused' in got && 'refused' in prompt, title);
        else {
          assert.deepEqual(prompt, { ids: expected.prompt, labels: [] }, title);
          if (!('refused' in got)) assert.deepEqual(got, { ids: expected.ids, labels: expected.labels }, title);
          else assert(MAY_BE_REFUSED.includes(title), `${title}: ${got.refused}`);
        }
      }
    });

    it('has the losses of transformers and PEFT', async (t) => {
      const tokenizer = await loadTokenizer(directory);
      t.after(() => tokenizer.close());
      const all = Object.values(chats);
      const encoded = await tokenizer.encodeChats(all);
      const isEncoded = (chat: EncodedChat | Refused): chat is EncodedChat => !('refused' in chat);
      const rows = encoded.filter(isEncoded);
      const model = openBaseModel(directory);
      const adapters = { base: undefined, adapter: readFixtureAdapter(join(directory, 'adapter'), model) } as const;
      for (const [variant, adapter] of Object.entries(adapters)) {
        const losses = await withForward(model, adapter, {}, (forward) => forward.losses(rows, 1, adapter?.theta));
        const expected = all.filter((_, i) => isEncoded(encoded[i]!)).map(({ nll }) => nll[variant as 'base']);
        assertClose(losses, expected, nll_tolerance, variant);
      }
    });
  });
