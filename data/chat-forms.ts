/** Chats in the forms that data sets write them in, each to messages with roles. */
import { z } from 'zod';
import type { Chat } from '../model/tokenizer/chat-template.ts';
import type { Form } from './forms.ts';

/** A form of chats, which may end before the assistant says a word. */
export interface ChatForm extends Pick<Form<Chat>, 'fields' | 'shown'> {
  /** Of a row as `parseExact` gives it. */
  readonly schema: z.ZodType<Chat>;
  /** What is told, and of which field, where the assistant has to say something and does not. */
  readonly unanswered: { readonly path: [string]; readonly error: string };
}

/** Messages of a chat. */
const MAX_MESSAGES = 1000;

/** Arguments of transformers' apply_chat_template that are no variables of a template, or that a row has fields for. */
const ARGUMENTS = new Set([
  ...['conversation', 'conversations', 'messages', 'tools', 'chat_template', 'add_generation_prompt'],
  ...['continue_final_message', 'tokenize', 'sanitize_control_tokens', 'padding', 'truncation', 'max_length'],
  ...['return_tensors', 'return_dict', 'return_assistant_tokens_mask', 'tokenizer_kwargs'],
]);
const Variables = z.record(z.string(), z.unknown()).superRefine((variables, context) => {
  for (const name of Object.keys(variables).filter((name) => ARGUMENTS.has(name)))
    context.addIssue({
      code: 'custom',
      path: [name],
      message: 'is no variable of a template; remove it (messages and tools are fields of the row)',
    });
});

/** What goes with a chat in any form: a first message of the system, and what the chat template is given beside the messages. */
const Beside = z.looseObject({
  system: z.string().nullish(),
  tools: z.array(z.unknown()).nullish(),
  chat_template_kwargs: Variables.nullish(),
});

/** A record, since the keys of an object's schema would come first: a template can write them in their order. */
const Message = z
  .record(z.string(), z.unknown())
  .refine(({ role }) => typeof role === 'string' && role !== '', { path: ['role'], error: 'expected a text' })
  .refine(({ content }) => typeof (content ?? '') === 'string', {
    path: ['content'],
    error: 'expected a text; parts of other kinds are not supported',
  });

export const messages: ChatForm = {
  fields: ['messages'],
  shown: '{"messages": [{"role", "content"}, …]}',
  schema: Beside.extend({ messages: z.array(Message).min(1).max(MAX_MESSAGES) }).transform(chatOf),
  unanswered: { path: ['messages'], error: 'no message has the role "assistant"' },
};

/** What ShareGPT and its like call the roles. */
const ROLES = {
  ...{ system: 'system', human: 'user', user: 'user', gpt: 'assistant', assistant: 'assistant', model: 'assistant' },
};
const Said = z
  .looseObject({
    from: z.enum(Object.keys(ROLES), { error: `expected one of ${Object.keys(ROLES).join(', ')}` }),
    value: z.string(),
  })
  .transform(({ from, value }) => ({ role: ROLES[from as keyof typeof ROLES], content: value }));

export const conversations: ChatForm = {
  fields: ['conversations'],
  shown: '{"conversations": [{"from", "value"}, …]}',
  schema: Beside.extend({ conversations: z.array(Said).min(1).max(MAX_MESSAGES) }).transform(
    ({ conversations, ...beside }) => chatOf({ ...beside, messages: conversations }),
  ),
  unanswered: { path: ['conversations'], error: 'nothing is from "gpt"' },
};

/** The user says the instruction and, in a line of its own, the input, where there is one. */
export const instruction: ChatForm = {
  fields: ['instruction', 'output'],
  shown: '{"instruction", "input", "output"}',
  schema: Beside.extend({
    instruction: z.string().min(1),
    input: z.string().nullish(),
    output: z.string().nullish(),
  }).transform(({ instruction, input, output, ...beside }) => {
    const asked = { role: 'user', content: isEmpty(input) ? instruction : `${instruction}\n${input}` };
    return chatOf({
      ...beside,
      messages: [asked, ...(isEmpty(output) ? [] : [{ role: 'assistant', content: output }])],
    });
  }),
  unanswered: { path: ['output'], error: 'expected a text that is not empty' },
};

const isEmpty = (text: string | null | undefined): boolean => (text ?? '') === '';

function chatOf({
  messages,
  system,
  tools,
  chat_template_kwargs,
}: Pick<Chat, 'messages'> & z.infer<typeof Beside>): Chat {
  return {
    messages: [...(isEmpty(system) ? [] : [{ role: 'system', content: system }]), ...messages],
    ...(tools && { tools }),
    ...(chat_template_kwargs && { variables: chat_template_kwargs }),
  };
}

/** Whether the assistant says something. */
export const isAnswered = ({ messages }: Chat): boolean => messages.some(({ role }) => role === 'assistant');
