/** What a chat template is given, what it may not do, and how it is found. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ChatTemplate, openChatTemplate } from '../../../model/tokenizer/chat-template.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const TOKENS = { bos_token: '<s>', eos_token: null };
const template = (source: string): ChatTemplate => new ChatTemplate('x.jinja', source, TOKENS);
const chat = (...contents: string[]) => ({
  messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
});

function directory(files: Readonly<Record<string, unknown>>): string {
  const path = temporaryDirectory();
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(path, name), typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const refused = (run: () => unknown, message: RegExp): void =>
  assert.throws(run, { name: 'OperatingError', exitCode: 2, message });

describe('a chat template', () => {
  it('is given messages, special tokens, tools, further variables, and whether an answer is asked for', () => {
    const render = (source: string, prompt = false): string =>
      template(source).render({ ...chat('a'), tools: [{ n: 1 }], variables: { mood: 'x' } }, prompt).text;
    assert.equal(
      render('{{ bos_token }}{{ eos_token }}{{ messages[0].role }}{{ tools | tojson }}{{ mood }}'),
      '<s>user[{"n": 1}]x',
    );
    assert.equal(render('{{ documents }}'), 'None');
    const documents = [{ title: 't' }];
    const { text } = template('{{ documents | tojson }}').render({ ...chat('a'), variables: { documents } });
    assert.equal(text, '[{"title": "t"}]');
    assert.equal(render('{% if add_generation_prompt %}yes{% endif %}', true), 'yes');
    assert.equal(render('{% if add_generation_prompt %}yes{% endif %}'), '');
  });

  it('sees no field that is null, and reasoning under each of its names', () => {
    const messages = [{ role: 'assistant', content: null, reasoning: 'so' }];
    const source = '{{ messages[0].content is defined }}{{ messages[0].reasoning_content }}{{ messages[0].thinking }}';
    assert.equal(template(source).render({ messages }).text, 'Falsesoso');
  });

  it('says which parts of the text the assistant writes, with white space as Jinja leaves it', () => {
    const source =
      '\n{% for m in messages %}\n[{{ m.role }}]\n  {% generation %}\n {{ m.content }}!\n{%- endgeneration %}\n;{% endfor %}';
    const { text, generated } = template(source).render(chat('hi', 'ho'));
    assert.equal(text, '\n[user]\n hi!;[assistant]\n ho!;');
    assert.deepEqual(
      generated.map(([start, end]) => text.slice(start, end)),
      [' hi!', ' ho!'],
    );
  });

  it('comes from chat_template.jinja before tokenizer_config.json, or from a list the one that is asked for', () => {
    const named = [
      { name: 'default', template: 'd' },
      { name: 'tool_use', template: 't' },
    ];
    const text = (files: Readonly<Record<string, unknown>>, withTools = false) =>
      openChatTemplate(directory(files), withTools)?.render(chat('a')).text;
    assert.equal(text({ 'chat_template.jinja': 'j', 'tokenizer_config.json': { chat_template: 'c' } }), 'j');
    assert.equal(text({ 'tokenizer_config.json': { chat_template: 'c' } }, true), 'c');
    assert.equal(text({ 'tokenizer_config.json': { chat_template: named } }), 'd');
    assert.equal(text({ 'tokenizer_config.json': { chat_template: named } }, true), 't');
    const more = directory({ 'chat_template.jinja': 'j', 'tokenizer_config.json': { chat_template: named } });
    mkdirSync(join(more, 'additional_chat_templates'));
    writeFileSync(join(more, 'additional_chat_templates/tool_use.jinja'), 'more');
    assert.equal(openChatTemplate(more, true)?.render(chat('a')).text, 'more');
    assert.equal(openChatTemplate(more)?.render(chat('a')).text, 'j');
    assert.equal(text({ 'chat_template.jinja': '\ufeffj' }), '\ufeffj');
    assert.equal(text({ 'tokenizer_config.json': {} }), undefined);
    assert.equal(text({}), undefined);
    refused(
      () => text({ 'tokenizer_config.json': { chat_template: [named[1]] } }),
      /names tool_use, expected one named default/,
    );
    refused(() => text({ 'tokenizer_config.json': { chat_template: 7 } }), /tokenizer_config.json: .*chat_template/s);
  });

  it('reads special tokens from the older file where the newer one lists no added tokens', () => {
    const files = {
      'chat_template.jinja': '{{ bos_token }}',
      'special_tokens_map.json': { bos_token: { content: '<old>' } },
    };
    const text = (config: object) =>
      openChatTemplate(directory({ ...files, 'tokenizer_config.json': config }))?.render(chat('a')).text;
    assert.equal(text({ bos_token: '<new>' }), '<old>');
    assert.equal(text({ bos_token: '<new>', added_tokens_decoder: {} }), '<new>');
    refused(() => text({ added_tokens_decoder: {} }), /chat_template.jinja: .* writes bos_token, .* does not name/);
  });

  it('is stopped when it takes too long, and refused when it writes too much or recurses', () => {
    const loop = '{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}';
    refused(() => template(loop).render(chat('a')), /x.jinja: the chat template: takes more than 5 s/);
    const large = `{% set ns = namespace(t='0123456789abcdef') %}{% for i in range(21) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}`;
    refused(() => template(large).render(chat('a')), /writes 33554432 characters, expected at most 16777216/);
    refused(() => template('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}').render(chat('a')), /x.jinja: /);
    refused(() => template(`{{ ${'('.repeat(200_000)}1${')'.repeat(200_000)} }}`), /x.jinja: .*call stack/);
  });

  it('is refused where it is no template, refuses the chat itself, or is given what is no text', () => {
    refused(() => template('{% if %}'), /x.jinja: the chat template: /);
    refused(() => template("{{ raise_exception('roles must alternate') }}").render(chat('a')), /roles must alternate/);
    refused(() => template('{{ messages[0].content }}').render(chat('\ud83da')), /half a surrogate pair/);
  });
});
