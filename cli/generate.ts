/** `onebyte generate`: texts that a model writes, with or without an adapter. */

import { Command, InvalidArgumentError } from 'commander';
import { type Prompt, type PromptRow, readPrompts } from '../data/prompts.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { openBaseModel } from '../model/base-model.ts';
import { BATCH_ROWS, type GeneratedText, type GenerationRules, generateTexts, type Writer } from '../model/generate.ts';
import { createContinuation } from '../model/runtime/continuation.ts';
import type { Chat } from '../model/tokenizer/chat-template.ts';
import { loadTokenizer, type Tokenizer } from '../model/tokenizer/tokenizer.ts';
import { usableCores } from '../platform/cores.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { WorkerSettings } from '../settings/worker-settings.ts';
import { ADAPTER_HELP, namedAdapter } from './adapter-directory.ts';
import { notNegative, positiveNumber, printJson, repeated, runCommand, toStderr, wholeNumber } from './command.ts';
import { converse } from './conversation.ts';
import { findModel } from './find-model.ts';
import { threadCount } from './thread-count.ts';

interface Flags {
  readonly model: string;
  readonly adapter?: string;
  readonly prompt?: string;
  readonly data?: string;
  readonly chat?: boolean;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly stop: readonly string[];
  readonly threads?: number;
  readonly json?: boolean;
}

/** What `--json` prints of each row. */
export interface GeneratedRow {
  /** In the file, from 1; absent for --prompt. */
  readonly line?: number;
  readonly text: string;
  /** That the model chose, the ending one included. */
  readonly tokens: number;
  /** With an ending token, at a --stop text, or at --max-tokens or what the model reaches. */
  readonly ended: GeneratedText['ended'];
}

export const generateCommand = new Command('generate')
  .description('text that a model writes, with or without an adapter')
  .requiredOption('--model <dir>', 'model directory or org/name')
  .option('--adapter <dir>', ADAPTER_HELP)
  .option('--prompt <text>', 'text to go on with; with --chat: a message to answer')
  .option('--data <file>', 'JSON lines of prompts or chats, as for training; answers are ignored')
  .option('--chat', "write prompts as the model's chat template says; without --prompt and --data: talk, a line a turn")
  .option('--max-tokens <n>', 'tokens of a text', positiveNumber, 128)
  .option('--temperature <t>', '0: the likeliest token each time; above: drawn, the wilder the higher', notNegative, 0)
  .option('--top-p <p>', 'draw among the likeliest tokens that are this likely together', part, 1)
  .option('--seed <n>', 'of what is drawn', wholeNumber, 0)
  .option('--stop <text>', 'end before this text; may be repeated', repeated, [])
  .option('--threads <n>', 'threads', threadCount)
  .option('--json', 'one line of JSON for each row on stdout')
  .addHelpText(
    'after',
    `
Example:
  onebyte generate --model ./model --adapter runs/first/checkpoints/best --prompt "Once upon a time"
  onebyte generate --model ./model --adapter runs/first/checkpoints/best --chat --temperature 0.7 --top-p 0.9
`,
  )
  .action((flags: Flags) => runCommand(() => generate(flags)));

async function generate(flags: Flags): Promise<ExitCode> {
  const { prompt, data, chat = false } = flags;
  if (prompt !== undefined && data !== undefined) throw usageError('--prompt and --data: expected one of them');
  if (prompt === undefined && data === undefined && !chat)
    throw usageError('--prompt or --data is needed, or --chat to talk');
  if (flags.stop.includes('')) throw usageError('--stop: expected a text that is not empty');
  const rows = data === undefined ? undefined : [...readPrompts(data)];
  if (rows?.length === 0) throw usageError(`${data}: no rows`);
  const directory = await findModel(flags.model, toStderr);
  const base = openBaseModel(directory);
  const tokenizer = await loadTokenizer(directory, base.vocabularySize);
  const rules = { ...flags, endIds: tokenizer.endIds };
  const encode = (prompts: readonly Prompt[], names: readonly string[]): Promise<number[][]> =>
    encodePrompts(tokenizer, chat, prompts, names, base.maxPositions);
  // Prompts that do not fit are found before the weights are read.
  const own = rows ?? (prompt === undefined ? [] : [{ text: prompt }]);
  const encoded = await encode(
    own,
    own.map((row) => ('line' in row ? `${data}:${row.line}` : '--prompt')),
  );
  const adapter = flags.adapter === undefined ? undefined : await namedAdapter(flags.adapter, base);
  const continuation = await createContinuation(
    base,
    adapter && { layout: adapterLayout(adapter.description.modules), theta: adapter.matrices },
    { ...WorkerSettings.parse({}), threads: flags.threads ?? usableCores() },
  );
  const writer = { continuation, tokenizer };
  try {
    if (own.length > 0) await writeRows(writer, own, encoded, rules, flags.json ?? false);
    else
      await converse(async (messages) => {
        const [ids] = await encode([{ messages }], ['the conversation']);
        const [reply] = await generateTexts(writer, [ids!], rules, messages.length, (_, text) =>
          process.stdout.write(text),
        );
        return reply!.text;
      });
  } finally {
    tokenizer.close();
    await continuation.close();
  }
  return EXIT.done;
}

async function writeRows(
  writer: Writer,
  rows: readonly (Prompt | PromptRow)[],
  prompts: readonly (readonly number[])[],
  rules: GenerationRules,
  json: boolean,
): Promise<void> {
  const streams = rows.length === 1 && !json;
  const beginMs = performance.now();
  let tokens = 0;
  for (let first = 0; first < rows.length; first += BATCH_ROWS) {
    const batch = prompts.slice(first, first + BATCH_ROWS);
    const tell = (_: number, text: string): void => void (streams && process.stdout.write(text));
    const texts = await generateTexts(writer, batch, rules, first, tell);
    texts.forEach(({ text, ids, ended }, i) => {
      tokens += ids.length;
      const row = rows[first + i]!;
      const line = 'line' in row ? { line: row.line } : {};
      if (json) printJson({ ...line, text, tokens: ids.length, ended } satisfies GeneratedRow);
      else process.stdout.write(streams ? '\n' : `line ${line.line}: ${text}\n`);
    });
  }
  const seconds = (performance.now() - beginMs) / 1000;
  toStderr(`${tokens} tokens, ${(tokens / seconds).toFixed(1)} tokens/s`);
}

/** Ids of the prompts, named by `names` in errors: of at least one token, and short enough that a token may follow. */
async function encodePrompts(
  tokenizer: Tokenizer,
  chat: boolean,
  prompts: readonly Prompt[],
  names: readonly string[],
  maxPositions: number,
): Promise<number[][]> {
  const encoded: number[][] = [];
  for (const [i, prompt] of prompts.entries()) {
    const own =
      chat || 'messages' in prompt
        ? await chatIds(tokenizer, asChat(prompt), names[i]!)
        : await textIds(tokenizer, prompt.text);
    if (own.length === 0) throw usageError(`${names[i]}: the prompt has no tokens; expected at least one`);
    if (own.length >= maxPositions)
      throw usageError(`${names[i]}: the prompt has ${own.length} tokens, the model reads ${maxPositions}; shorten it`);
    encoded.push([...own]);
  }
  return encoded;
}

const asChat = (prompt: Prompt): Chat =>
  'messages' in prompt ? prompt : { messages: [{ role: 'user', content: prompt.text }] };

async function chatIds(tokenizer: Tokenizer, chat: Chat, name: string): Promise<readonly number[]> {
  const [encoded] = await tokenizer.encodeChats([chat], true);
  if ('refused' in encoded!) throw usageError(`${name}: ${encoded.refused}`);
  return encoded!.ids;
}

/** With the special tokens that come first; those that end a text would end what is to go on. */
async function textIds(tokenizer: Tokenizer, text: string): Promise<readonly number[]> {
  const { ids, leading, trailing } = (await tokenizer.encode([text]))[0]!;
  return leading === ids.length ? ids : ids.slice(0, ids.length - trailing);
}

function part(value: string): number {
  const number = Number(value);
  if (!(number > 0 && number <= 1)) throw new InvalidArgumentError('Expected a number above 0, at most 1.');
  return number;
}
