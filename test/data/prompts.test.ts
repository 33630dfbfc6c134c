/** Rows to generate from: a chat is prompted as it is learnt. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readJsonl } from '../../data/jsonl.ts';
import { readPrompts } from '../../data/prompts.ts';
import { rowsFile } from '../support/rows-file.ts';

const messages = [
  { content: 'Good?', role: 'user', name: 'n' },
  { role: 'assistant', content: 'Yes.' },
];
const beside = { system: 'Be brief.', tools: [{ n: 1 }], chat_template_kwargs: { enable_thinking: false } };

describe('a row to generate from', () => {
  for (const row of [
    { messages },
    { messages, ...beside },
    { messages, tools: null, system: null, chat_template_kwargs: null },
    { messages, prompt: 'is not read' },
    {
      conversations: [
        { from: 'human', value: 'Good?' },
        { from: 'gpt', value: 'Yes.' },
      ],
      ...beside,
    },
    { instruction: 'Sum', input: '1 2', output: '3', ...beside },
  ])
    it(`is the chat that is learnt, less its answer: ${JSON.stringify(row)}`, () => {
      const file = rowsFile(row);
      const learnt = readJsonl(file).next().value!.row;
      assert('chat' in learnt);
      const { messages, ...others } = learnt.chat;
      const [prompt] = readPrompts(file);
      assert.equal(JSON.stringify(prompt), JSON.stringify({ line: 1, messages: messages.slice(0, -1), ...others }));
    });

  it('may have columns of other forms, with nothing in them', () => {
    const [prompt] = readPrompts(rowsFile({ prompt: 'a', messages: null, conversations: null }));
    assert.deepEqual(prompt, { line: 1, text: 'a' });
    const [row] = readJsonl(rowsFile({ prompt: 'a', completion: ' b', messages: null, options: null }));
    assert.deepEqual(row?.row, { prompt: 'a', options: [' b'] });
  });

  it('need not be answered', () => {
    const file = rowsFile({ messages: messages.slice(0, 1) }, { instruction: 'Sum' }, { prompt: 'a', label: 1 });
    assert.deepEqual(
      [...readPrompts(file)],
      [
        { line: 1, messages: messages.slice(0, 1) },
        { line: 2, messages: [{ role: 'user', content: 'Sum' }] },
        { line: 3, text: 'a' },
      ],
    );
  });

  for (const [name, row, message] of [
    ['no messages', { messages: [] }, /rows.jsonl:1: messages Too small/],
    ['tools that are none', { messages, tools: 7 }, /rows.jsonl:1: tools .*expected \{"messages"/],
    [
      'tools among its variables',
      { messages, chat_template_kwargs: { tools: [] } },
      /:1: chat_template_kwargs.tools is/,
    ],
    ['no form', { text: 'a' }, /:1: expected one of .*\{"prompt"\}.*; got \{"text":"a"\}/],
  ] as const)
    it(`is refused by file, line and field where it has ${name}`, () => {
      assert.throws(() => [...readPrompts(rowsFile(row))], message);
    });
});
