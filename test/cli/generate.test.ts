/** `onebyte generate` and `onebyte eval --generate`, as a user runs them. */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadTokenizer } from '../../model/tokenizer/tokenizer.ts';
import { goldenFiles, runOnebyte } from '../support/onebyte.ts';
import { rowsFile } from '../support/rows-file.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const llama = join(goldenFiles, 'models/llama');
/** Puts no token before a text. */
const qwen2 = join(goldenFiles, 'models/qwen2');
const ADAPTED = ['--model', llama, '--adapter', join(llama, 'adapter')];

const jsonLines = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('onebyte generate', () => {
  it('writes the same text of a prompt and of a row of a file', async () => {
    const flags = [...ADAPTED, '--max-tokens', '8'];
    const alone = await runOnebyte('generate', ...flags, '--prompt', 'the film was');
    assert.equal(alone.code, 0, alone.stderr);
    assert.match(alone.stderr, /^8 tokens, [\d.]+ tokens\/s$/m);
    const data = rowsFile({ prompt: 'a', completion: ' b' }, { prompt: 'the film was', other: 1 });
    const rows = await runOnebyte('generate', ...flags, '--data', data, '--json');
    const [first, second] = jsonLines(rows.stdout);
    assert.equal(first.line, 1);
    assert.deepEqual(second, { line: 2, text: alone.stdout.slice(0, -1), tokens: 8, ended: 'length' });
  });

  it('answers chats as the template of the model says', async () => {
    const model = join(temporaryDirectory(), 'model');
    cpSync(llama, model, { recursive: true });
    writeFileSync(
      join(model, 'chat_template.jinja'),
      '{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }} {% endfor %}{% if add_generation_prompt %}it was{% endif %}',
    );
    const data = rowsFile({
      messages: [
        { role: 'user', content: 'good film' },
        { role: 'assistant', content: 'is not read' },
      ],
    });
    const flags = ['--model', model, '--max-tokens', '6', '--json'];
    const written = await runOnebyte('generate', ...flags, '--prompt', 'user: good film it was');
    const [expected] = jsonLines(written.stdout);
    const [row] = jsonLines((await runOnebyte('generate', ...flags, '--data', data)).stdout);
    assert.deepEqual(row, { line: 1, ...expected });
    const [asked] = jsonLines((await runOnebyte('generate', ...flags, '--chat', '--prompt', 'good film')).stdout);
    assert.deepEqual(asked, expected);
  });

  for (const [what, flags, message] of [
    ['no prompt', [], /--prompt or --data is needed, or --chat to talk/],
    ['two prompts', ['--prompt', 'a', '--data', 'b'], /--prompt and --data: expected one of them/],
    ['an empty prompt', ['--prompt', '', '--model', qwen2], /--prompt: the prompt has no tokens/],
    ['a prompt that the model cannot read', ['--prompt', 'word '.repeat(2000)], /tokens, the model reads 256/],
    ['a chat where there is no template', ['--chat', '--prompt', 'a'], /the model has no chat template/],
    ['a file that is not there', ['--data', 'nowhere.jsonl'], /nowhere\.jsonl/],
  ] as const)
    it(`refuses ${what} with code 2`, async () => {
      const { code, stderr } = await runOnebyte('generate', '--model', llama, ...flags);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });

  it('names the line of a row that is none', async () => {
    const { code, stderr } = await runOnebyte(
      'generate',
      '--model',
      llama,
      '--data',
      rowsFile({ prompt: 'a' }, { text: 'b' }),
    );
    assert.equal(code, 2);
    assert.match(stderr, /rows\.jsonl:2: expected one of .*\{"prompt"\}.*; got \{"text":"b"\}/);
  });
});

describe('onebyte eval --generate', () => {
  it('counts the rows whose completion is the likeliest continuation', async () => {
    const [{ text }] = jsonLines(
      (await runOnebyte('generate', ...ADAPTED, '--max-tokens', '3', '--prompt', 'the film was', '--json')).stdout,
    );
    const data = rowsFile(
      { prompt: 'the film was', completion: text },
      { prompt: 'the film was', completion: `${text} and more` },
      { prompt: 'the film was', completion: ' a film' },
    );
    const { code, stdout, stderr } = await runOnebyte(
      'eval',
      ...ADAPTED,
      '--data',
      data,
      '--generate',
      '--per-example',
      '--json',
    );
    assert.equal(code, 0, stderr);
    const result = jsonLines(stdout).at(-1);
    assert.equal(result.exactMatch, 1 / 3);
    const tokens = result.examples.reduce((sum: number, example: { tokens: number }) => sum + example.tokens, 0);
    assert(Math.abs(result.lossPerToken * tokens - result.loss * 3) < 1e-9, 'a loss per token beside that per row');
    assert.deepEqual(
      result.examples.map(({ exact }: { exact: boolean }) => exact),
      [true, false, false],
    );
    assert(result.examples[2].continuation.startsWith(text.slice(0, 2)));
  });

  it('compares an answer up to the token that ends a turn, whatever the template writes behind it', async () => {
    const flags = ['--max-tokens', '3', '--prompt', 'the film was', '--json'];
    const [{ text }] = jsonLines((await runOnebyte('generate', ...ADAPTED, ...flags)).stdout);
    const tokenizer = await loadTokenizer(llama);
    const [answer] = await tokenizer.encode([text]);
    tokenizer.close();
    const model = join(temporaryDirectory(), 'model');
    cpSync(llama, model, { recursive: true });
    writeFileSync(join(model, 'generation_config.json'), JSON.stringify({ eos_token_id: answer!.ids.at(-1) }));
    writeFileSync(
      join(model, 'chat_template.jinja'),
      "{{ bos_token }}{% for message in messages %}{{ message.content }}{{ ' and more' if message.role == 'assistant' }}{% endfor %}",
    );
    const chat = (content: string) => ({
      messages: [
        { role: 'user', content: 'the film was' },
        { role: 'assistant', content },
      ],
    });
    const data = rowsFile(chat(text), chat(' a film'));
    const { code, stdout, stderr } = await runOnebyte(
      'eval',
      '--model',
      model,
      ...ADAPTED.slice(2),
      '--data',
      data,
      '--generate',
      '--json',
    );
    assert.equal(code, 0, stderr);
    assert.equal(jsonLines(stdout).at(-1).exactMatch, 1 / 2);
  });

  it('refuses rows without a completion', async () => {
    const data = rowsFile({ prompt: 'a', options: [' b', ' c'], label: 0 });
    const { code, stderr } = await runOnebyte('eval', ...ADAPTED, '--data', data, '--generate');
    assert.equal(code, 2);
    assert.match(stderr, /no row has a completion, which --generate compares/);
  });
});
