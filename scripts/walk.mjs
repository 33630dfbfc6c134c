// Plays the walk of README.md, "Your own model and data", in a new directory: chats of one's own, plan, simulate, generate, merge,
// generate. Fails where a command fails, or where what was learned does not show in what is written.
//
//   node scripts/walk.mjs [MODEL_DIRECTORY] [ROUNDS]
//
// A model without a chat template gets one; the default is that of examples/tiny-reviews.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const reviews = join(root, 'examples/tiny-reviews');
const given = resolve(process.argv[2] ?? join(reviews, 'model'));
const rounds = Number(process.argv[3] ?? 200);
const directory = mkdtempSync(join(tmpdir(), 'onebyte-walk-'));
const model = join(directory, 'model');

/** Runs `onebyte <args>` and returns what it printed. */
function onebyte(...args) {
  console.log(`$ onebyte ${args.map((arg) => (arg.includes(' ') ? JSON.stringify(arg) : arg)).join(' ')}`);
  const stdio = ['ignore', 'pipe', 'inherit'];
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin/onebyte.js'), ...args], {
    ...{ cwd: directory, stdio, encoding: 'utf8' },
  });
  process.stdout.write(stdout);
  if (status !== 0) throw new Error(`onebyte ${args[0]} ended with code ${status}`);
  return stdout;
}

/** The user begins a sentence, the assistant ends it. */
const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %} {{ message.content }} .{% else %}{{ message.content }}{% endif %}{% endfor %}";

/** A copy of the model that was given, with a chat template. */
function prepareModel() {
  cpSync(given, model, { recursive: true, dereference: true });
  const tokenizer = JSON.parse(readFileSync(join(model, 'tokenizer_config.json'), 'utf8'));
  const template = join(model, 'chat_template.jinja');
  if (tokenizer.chat_template === undefined && !existsSync(template)) writeFileSync(template, TEMPLATE);
}

/** Rows of the example as chats. */
function writeRows(name, count) {
  const lines = readFileSync(join(reviews, name), 'utf8').trim().split('\n').slice(0, count);
  const rows = lines
    .map((line) => JSON.parse(line))
    .map(({ prompt, options, label }) => [
      { role: 'user', content: prompt },
      { role: 'assistant', content: options[label].trim() },
    ]);
  writeFileSync(join(directory, name), rows.map((messages) => `${JSON.stringify({ messages })}\n`).join(''));
  return rows;
}

/** The part of the test rows whose completion the model writes by itself. */
function exactMatch(...which) {
  const out = onebyte('eval', ...which, '--data', 'test.jsonl', '--generate', '--json');
  return JSON.parse(out.trim().split('\n').at(-1)).exactMatch;
}

try {
  prepareModel();
  writeRows('train.jsonl', 1000);
  writeRows('dev.jsonl', 60);
  const [[{ content: prompt }]] = writeRows('test.jsonl', 100);
  writeFileSync(
    join(directory, 'run.yaml'),
    `model: model
rounds: ${rounds}
workers: 2
data:
  train: train.jsonl
  dev: dev.jsonl
  test: test.jsonl
`,
  );
  onebyte('plan', 'run.yaml');
  onebyte('simulate', 'run.yaml', '--out', 'runs/first', '--no-dashboard');
  const adapted = ['--model', 'model', '--adapter', 'runs/first/checkpoints/best'];
  const written = ['--chat', '--prompt', prompt, '--max-tokens', '8'];
  onebyte('generate', ...adapted, ...written);
  onebyte('merge', ...adapted, '--out', 'merged');
  onebyte('generate', '--model', 'merged', ...written);
  const [before, after, merged] = [['--model', 'model'], adapted, ['--model', 'merged']].map((which) =>
    exactMatch(...which),
  );
  console.log(`exact match on the test rows: ${before} before, ${after} with the adapter, ${merged} merged`);
  if (after <= before || merged <= before) throw new Error('what was learned does not show in what is written');
} finally {
  rmSync(directory, { recursive: true });
}
