/** Rows to generate from, of JSON lines: texts to go on with, and chats as they are learnt. Completions and other fields are ignored. */
import { z } from 'zod';
import { parseExact } from '../model/jinja/exact-json.ts';
import type { Chat } from '../model/tokenizer/chat-template.ts';
import { type ChatForm, conversations, instruction, messages } from './chat-forms.ts';
import { type Form, readForms } from './forms.ts';

/** A text to go on with, or a chat to answer. */
export type Prompt = { readonly text: string } | Chat;

export type PromptRow = Prompt & { readonly line: number };

const Text = z.looseObject({ prompt: z.string() });
const chat = ({ schema, ...form }: ChatForm): Form<Prompt> => ({
  ...form,
  parse: (_, text) => withoutAnswer(schema.parse(parseExact(text))),
});

const FORMS: readonly Form<Prompt>[] = [
  chat(messages),
  chat(conversations),
  { fields: ['prompt'], shown: '{"prompt"}', parse: (row) => ({ text: Text.parse(row).prompt }) },
  chat(instruction),
];

/** The rows of `file` in order. @throws OperatingError (usage) that names the file, the line and the field */
export const readPrompts = (file: string): Generator<PromptRow> =>
  readForms(file, FORMS, 'expected a row such as {"prompt": …} a line');

/** Less the last message where the assistant wrote it: what is generated takes its place. */
function withoutAnswer(chat: Chat): Chat {
  return chat.messages.at(-1)?.role === 'assistant' ? { ...chat, messages: chat.messages.slice(0, -1) } : chat;
}
