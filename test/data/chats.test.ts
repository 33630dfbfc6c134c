/** Rows of chats and plain text: their forms, what of them is learnt, how they are fitted, and what is refused by line number. */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { readDataset } from '../../data/dataset.ts';
import { readJsonl } from '../../data/jsonl.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer/tokenizer.ts';
import type { DataRules } from '../../proto/run-config.ts';
import { goldenFiles, tinyReviews } from '../support/onebyte.ts';
import { rowsFile } from '../support/rows-file.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const chatModel = join(goldenFiles, 'chats/smollm2');
const tokenizer = await loadTokenizer(chatModel);
const withoutTemplate = await loadTokenizer(join(tinyReviews, 'model'));
/** Puts a special token first. */
const llama = await loadTokenizer(join(goldenFiles, 'models/llama'));
after(() => {
  for (const each of [tokenizer, withoutTemplate, llama]) each.close();
});
const RULES: DataRules = { maxLength: 256, appendEos: false };

const idsOf = async (of: Tokenizer, text: string) => (await of.encode([text]))[0]!.ids;

async function rowOf(row: unknown, rules = RULES, of: Tokenizer = tokenizer): Promise<TokenRow> {
  const { examples } = await readDataset(rowsFile(row), of, rules);
  assert.equal(examples[0]!.options.length, 1);
  assert.equal(examples[0]!.classified, false);
  return examples[0]!.options[0]!;
}

const refused = (run: () => Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(run, { name: 'OperatingError', exitCode: 2, message });

const turn = (role: string, content: string) => ({ role, content });
const messages = [turn('system', 'Be brief.'), turn('user', 'Good?'), turn('assistant', 'Yes.')];

describe('a row that is a chat', () => {
  it('may be written in each of its forms', async () => {
    const expected = await rowOf({ messages });
    const said = (from: string, value: string) => ({ from, value });
    for (const row of [
      { conversations: [said('system', 'Be brief.'), said('human', 'Good?'), said('gpt', 'Yes.')] },
      { system: 'Be brief.', conversations: [said('user', 'Good?'), said('assistant', 'Yes.')] },
      { system: 'Be brief.', messages: messages.slice(1) },
      { system: 'Be brief.', instruction: 'Good?', input: '', output: 'Yes.' },
      { system: 'Be brief.', instruction: 'Good?', output: 'Yes.', text: 'of no effect' },
    ])
      assert.deepEqual(await rowOf(row), expected, JSON.stringify(row));
    assert.deepEqual(
      await rowOf({ instruction: 'Sum', input: '1 2', output: '3' }),
      await rowOf({ messages: [turn('user', 'Sum\n1 2'), turn('assistant', '3')] }),
    );
  });

  it('is learnt where the assistant speaks, each of its turns and no end of text more', async () => {
    const chat = [...messages, turn('user', 'Sure?'), turn('assistant', 'Quite.')];
    const { ids, labels } = await rowOf({ messages: chat }, { ...RULES, appendEos: true });
    const answers = await idsOf(tokenizer, 'Yes.<|im_end|>\nQuite.<|im_end|>\n');
    assert.deepEqual(
      labels.map((label) => ids[label]),
      answers,
    );
  });

  it('that is too long loses its right end, and is refused where nothing to learn is left', async () => {
    const chat = [...messages, turn('user', 'Sure?'), turn('assistant', 'Quite.')];
    const whole = await rowOf({ messages: chat });
    const maxLength = whole.labels.at(-1)! - 1;
    const cut = await readDataset(rowsFile({ messages: chat }), tokenizer, { ...RULES, maxLength });
    assert.equal(cut.truncated, 1);
    assert.deepEqual(cut.examples[0]!.options[0], {
      ids: whole.ids.slice(0, maxLength),
      labels: whole.labels.filter((label) => label < maxLength),
    });
    const short = { ...RULES, maxLength: whole.labels[0]! };
    await refused(
      () => rowOf({ messages: chat }, short),
      /rows.jsonl:1: no token of the first \d+ \(data.maxLength\) is one to learn; the row has \d+/,
    );
  });

  it('hands the chat template its tools and variables', async (t) => {
    const directory = copyWithTemplate(
      '{{ tools | tojson }}{{ mood }}{% for m in messages %}|{{ m.content }}{% endfor %}',
    );
    const own = await loadTokenizer(directory);
    t.after(() => own.close());
    const row = { messages, tools: [{ n: 1 }], chat_template_kwargs: { mood: 'glad' } };
    const ids = await idsOf(own, '[{"n": 1}]glad|Be brief.|Good?|Yes.');
    assert.deepEqual((await rowOf(row, RULES, own)).ids, ids);
  });

  it('hands the chat template messages with their fields in the order of the file', async (t) => {
    const own = await loadTokenizer(copyWithTemplate('{% for m in messages %}{{ m | tojson }}{% endfor %}'));
    t.after(() => own.close());
    const texts = ['{"content": "Good?", "role": "user", "name": "n"}', '{"content": "Yes.", "role": "assistant"}'];
    const { ids } = await rowOf({ messages: texts.map((text) => JSON.parse(text)) }, RULES, own);
    assert.deepEqual(ids, await idsOf(own, texts.join('')));
  });
});

it('numbers and keys of a chat are to its template what they are to Python', async (t) => {
  const directory = copyWithTemplate('{{ tools | tojson }}{{ temperature }}');
  const own = await loadTokenizer(directory);
  t.after(() => own.close());
  const file = join(temporaryDirectory(), 'rows.jsonl');
  const tools = '[{"n": 1.0, "10": 1e2, "2": 12345678901234567890}]';
  writeFileSync(
    file,
    `{"messages": ${JSON.stringify(messages)}, "tools": ${tools}, "chat_template_kwargs": {"temperature": 0.0}}`,
  );
  // Its own turn is nothing here, so it is rendered as a prompt.
  const { row } = readJsonl(file).next().value!;
  assert('chat' in row);
  const [encoded] = await own.encodeChats([row.chat], true);
  const text = '[{"n": 1.0, "10": 100.0, "2": 12345678901234567890}]0.0';
  assert.deepEqual(encoded, { ids: await idsOf(own, text), labels: [] });
});

describe('a row of plain text', () => {
  it('is learnt but for its first token', async () => {
    const ids = await idsOf(llama, 'The film was good.');
    const { labels, ...row } = await rowOf({ text: 'The film was good.' }, RULES, llama);
    assert.deepEqual(row, { ids });
    assert.deepEqual(
      labels,
      Array.from(ids.slice(1), (_, i) => i + 1),
    );
    const ended = await rowOf({ text: 'The film was good.' }, { ...RULES, appendEos: true }, llama);
    assert.deepEqual(ended.ids, [...ids, llama.eosId]);
    assert.equal(ended.labels.at(-1), ids.length);
  });

  it('that is too long loses its right end', async () => {
    const ids = await idsOf(llama, 'The film was good.');
    const row = await rowOf({ text: 'The film was good.' }, { ...RULES, maxLength: 3 }, llama);
    assert.deepEqual(row, { ids: ids.slice(0, 3), labels: [1, 2] });
  });
});

describe('a row of another form is refused', () => {
  const BAD: [name: string, row: object, message: RegExp][] = [
    ['no messages', { messages: [] }, /messages Too small/],
    ['no answer', { messages: messages.slice(0, 2) }, /messages no message has the role "assistant"/],
    ['nothing from gpt', { conversations: [{ from: 'human', value: 'a' }] }, /conversations nothing is from "gpt"/],
    ['a role that is not known', { conversations: [{ from: 'bing', value: 'a' }] }, /conversations.0.from .*human/],
    ['a message without a role', { messages: [{ content: 'a' }] }, /messages.0.role .*expected \{"messages"/],
    [
      'a content of parts',
      { messages: [{ role: 'user', content: [{ type: 'image' }] }] },
      /messages.0.content .*a text/,
    ],
    ['a content that is a number', { messages: [{ role: 'user', content: 1 }] }, /messages.0.content .*a text/],
    [
      'tools among the variables',
      { messages, chat_template_kwargs: { tools: [], mood: 'glad' } },
      /chat_template_kwargs.tools is no variable of a template; remove it \(messages and tools are fields of the row\);/,
    ],
    ['messages that are a text', { messages: 'a' }, /messages .*expected array/],
    ['too many messages', { messages: Array(1001).fill(messages[2]) }, /messages Too big: .*1000/],
    ['an instruction without an output', { instruction: 'a' }, /output .*expected \{"instruction"/],
    ['a text that is empty', { text: '' }, /text Too small/],
    ['a text of one token', { text: 'a' }, /no token is one to learn/],
    ['half a surrogate pair', { messages: [turn('user', '\ud83da'), messages[2]] }, /half a surrogate pair/],
    ['an answer that comes first', { messages: [messages[2], messages[1]] }, /chat_template.jinja: .*message 1/],
  ];
  for (const [name, row, message] of BAD)
    it(`when it has ${name}`, async () => {
      const whole = new RegExp(`rows.jsonl:2: .*${message.source}`, 's');
      await refused(() => readDataset(rowsFile({ messages }, row), tokenizer, RULES), whole);
    });

  it('when the model has no chat template, by its directory', async () => {
    await refused(
      () => rowOf({ messages }, RULES, withoutTemplate),
      /rows.jsonl:1: .*tiny-reviews\/model: the model has no chat template .*instruction-tuned/,
    );
  });

  it('when the template is not valid, takes too long, or fills the memory', async (t) => {
    const FAULTS: [template: string, message: RegExp][] = [
      ['{% if %}', /rows.jsonl:1: .*chat_template.jinja: the chat template: /],
      ['{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}', /:1: .*takes more than 5 s/],
      [
        '{% set ns = namespace(a=[1], b=[]) %}{% for i in range(22) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{% for i in range(9999) %}{% set ns.b = ns.b + [ns.a + [i]] %}{% endfor %}',
        /cannot encode .*Be brief.*more memory than there is|:1: .*takes more than 5 s/,
      ],
    ];
    for (const [template, message] of FAULTS) {
      const own = await loadTokenizer(copyWithTemplate(template));
      t.after(() => own.close());
      await refused(() => rowOf({ messages }, RULES, own), message);
    }
  });
});

function copyWithTemplate(template: string): string {
  const directory = join(temporaryDirectory(), 'model');
  cpSync(chatModel, directory, { recursive: true });
  writeFileSync(join(directory, 'chat_template.jinja'), template);
  return directory;
}
