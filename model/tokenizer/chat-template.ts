/** The chat template of a model directory: messages to the text that the model reads, as transformers' apply_chat_template writes it. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createContext, Script } from 'node:vm';
import { z } from 'zod';
import { readTextFile } from '../../platform/read-json-file.ts';
import { usageError } from '../../proto/operating-error.ts';
import { fromJson } from '../jinja/exact-json.ts';
import { Template } from '../jinja/template.ts';
import { TemplateError } from '../jinja/values.ts';
import { assistantTurns, type WriteChat } from './assistant-turns.ts';
import { parseConfig, readSpecialTokens, SPECIAL_NAMES, type SpecialTokens } from './special-tokens.ts';

/** What a template is given. */
export interface Chat {
  /** Each has a role and a content, and whatever else the template reads (tool_calls, reasoning_content). */
  readonly messages: readonly Message[];
  readonly tools?: readonly unknown[] | undefined;
  /** Further variables, such as `enable_thinking` or `documents`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}
export type Message = Readonly<Record<string, unknown>>;

/** A chat as text, and the parts of it that the assistant writes. */
export interface RenderedChat {
  readonly text: string;
  /** [start, end) in UTF-16 code units, ascending. */
  readonly generated: readonly (readonly [number, number])[];
}

const MAX_TEMPLATE_BYTES = 2 ** 20;
/** A template is a program of a stranger: what it may take for one chat. */
const MAX_RENDER_MS = 5000;

/** As transformers looks for it. */
const GENERATION = /\{%[-+]?\s*generation\s*[-+]?%\}/;

export class ChatTemplate {
  /** Whether `{% generation %}` says which part of a text the assistant writes. */
  private readonly marks: boolean;
  private readonly file: string;
  private readonly template: Template;
  private readonly special: SpecialTokens;
  /** Once it has taken too long it is not tried again. */
  private tooSlow: Error | undefined;

  /** @param file is named in errors */
  constructor(file: string, source: string, special: SpecialTokens) {
    this.file = file;
    for (const name of SPECIAL_NAMES)
      if (special[name] === undefined && new RegExp(`\\b${name}\\b`).test(source))
        throw usageError(
          `${file}: the chat template writes ${name}, which tokenizer_config.json does not name; write its text there, or null for none`,
        );
    this.special = Object.fromEntries(Object.entries(special).filter(([, token]) => (token ?? null) !== null));
    this.marks = GENERATION.test(source);
    this.template = this.bounded(() => new Template(source));
  }

  /**
   * The text of a chat, and what the template itself marks as the assistant's.
   * @param generationPrompt end with what comes before an answer of the assistant
   * @throws OperatingError (usage) that names the template's file: it refuses the chat, is not valid, or takes too long
   */
  render(chat: Chat, generationPrompt = false): RenderedChat {
    return this.bounded(() => {
      checkTexts(chat);
      return this.write(chat, chat.messages, generationPrompt);
    });
  }

  /** The text of a chat, and the assistant's turns in it. @throws as `render`, and where it cannot be told where the turns are */
  turns(chat: Chat): RenderedChat {
    if (this.marks) return this.render(chat);
    return this.bounded(() => {
      checkTexts(chat);
      const write: WriteChat = (messages, generationPrompt) => this.write(chat, messages, generationPrompt).text;
      return assistantTurns(chat.messages, write, this.special.eos_token ?? '');
    });
  }

  private write({ tools, variables }: Chat, messages: readonly Message[], generationPrompt: boolean): RenderedChat {
    const given = {
      ...this.special,
      documents: null,
      ...variables,
      messages: messages.map(asTemplatesRead),
      tools: tools ?? null,
      add_generation_prompt: generationPrompt,
    };
    const values = Object.entries(given).map(([name, value]) => [name, fromJson(value)]);
    return this.template.render(Object.fromEntries(values), () => new Date());
  }

  /** What `work` gives, within the time that a template may take. */
  private bounded<Result>(work: () => Result): Result {
    // Else a file of many chats would wait for each.
    if (this.tooSlow !== undefined) throw this.tooSlow;
    try {
      return SCRIPT.runInContext(Object.assign(CONTEXT, { work }), { timeout: MAX_RENDER_MS }) as Result;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const line = error instanceof TemplateError && error.line !== undefined ? `line ${error.line}: ` : '';
      const isSlow = code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
      const reason = isSlow ? `takes more than ${MAX_RENDER_MS / 1000} s` : line + message.slice(0, 500);
      const failure = usageError(`${this.file}: the chat template: ${reason}`, { cause: error });
      if (isSlow) this.tooSlow = failure;
      throw failure;
    }
  }
}

/** Only a script can be stopped while it runs, so one calls the template. */
const SCRIPT = new Script('work()');
const CONTEXT = createContext({});

const Named = z.looseObject({ name: z.string(), template: z.string() });
const TokenizerConfig = z.looseObject({
  chat_template: z.union([z.string(), z.array(Named), z.record(z.string(), z.string())]).nullish(),
});

/**
 * The template of a model directory, from chat_template.jinja and additional_chat_templates/, or from tokenizer_config.json; undefined
 * where it has none.
 * @param withTools takes the template named `tool_use`, where there are several and one has that name
 * @throws OperatingError (usage) that names the file
 */
export function openChatTemplate(directory: string, withTools = false): ChatTemplate | undefined {
  const file = join(directory, 'tokenizer_config.json');
  const { named: special } = readSpecialTokens(directory);
  const templates = templatesIn(directory) ?? templatesOf(file, parseConfig(file, TokenizerConfig)?.chat_template);
  if (templates.size === 0) return undefined;
  const found = (withTools ? templates.get('tool_use') : undefined) ?? templates.get('default');
  if (found === undefined)
    throw usageError(
      `${file}: chat_template has the names ${[...templates.keys()].join(', ')}, expected one named default`,
    );
  return new ChatTemplate(found.file, found.source(), special);
}

/** Sources by name. */
type Templates = ReadonlyMap<string, { readonly file: string; readonly source: () => string }>;

/** Files of their own, which count before tokenizer_config.json; undefined where there are none. */
function templatesIn(directory: string): Templates | undefined {
  const folder = join(directory, 'additional_chat_templates');
  const more = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.jinja')) : [];
  const files = [
    ['default', join(directory, 'chat_template.jinja')] as const,
    ...more.map((name) => [name.slice(0, -'.jinja'.length), join(folder, name)] as const),
  ].filter(([, file]) => existsSync(file));
  if (files.length === 0) return undefined;
  const read = (file: string): string => readTextFile(file, MAX_TEMPLATE_BYTES, { keepsMark: true });
  return new Map(files.map(([name, file]) => [name, { file, source: () => read(file) }]));
}

function templatesOf(file: string, given: z.infer<typeof TokenizerConfig>['chat_template']): Templates {
  if (given === undefined || given === null) return new Map();
  if (typeof given === 'string') return new Map([['default', { file, source: () => given }]]);
  const named = Array.isArray(given)
    ? given.map(({ name, template }) => [name, template] as const)
    : Object.entries(given);
  return new Map(named.map(([name, template]) => [name, { file, source: () => template }]));
}

const withoutNulls = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null)) as T;

/** As transformers hands a message on: what is null is left out, and reasoning has all the names that templates know. */
function asTemplatesRead(message: Message): Message {
  const given = withoutNulls(message);
  const reasoning = given.reasoning_content ?? given.thinking ?? given.reasoning;
  return reasoning === undefined ? given : { thinking: reasoning, ...given, reasoning_content: reasoning };
}

/** @throws Error: a text in `value` is none in Unicode, which Python cannot encode and JavaScript would change */
function checkTexts(value: unknown): void {
  if (typeof value === 'string' && /\p{Surrogate}/u.test(value))
    throw new Error('is given a text with half a surrogate pair; remove it');
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) checkTexts(part);
}
