/** Chats in the forms that data sets write them in, each to messages with roles. */
import { z } from 'zod';
import type { Chat } from '../model/chat-template.ts';

/** Messages of a chat. */
const MAX_MESSAGES = 1000;

/** What goes with a chat in any form: a first message of the system, and what the chat template is given beside the messages. */
const Beside = z.looseObject({
  system: z.string().nullish(),
  tools: z.array(z.unknown()).nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
});

const Message = z.looseObject({
  role: z.string().min(1),
  content: z.string({ error: 'expected a text; parts of other kinds are not supported' }).nullish(),
});

/** `{"messages": [{"role", "content"}, …]}`. */
export const messages = Beside.extend({ messages: z.array(Message).max(MAX_MESSAGES) })
  .transform(chatOf)
  .refine(...hasAnswer('messages', 'no message has the role "assistant"'));

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

/** `{"conversations": [{"from", "value"}, …]}`. */
export const conversation = Beside.extend({ conversations: z.array(Said).max(MAX_MESSAGES) })
  .transform(({ conversations, ...beside }) => chatOf({ ...beside, messages: conversations }))
  .refine(...hasAnswer('conversations', 'nothing is from "gpt"'));

/** `{"instruction", "input", "output"}`: the user says the instruction and, in a line of its own, the input, where there is one. */
export const instruction = Beside.extend({
  instruction: z.string().min(1),
  input: z.string().nullish(),
  output: z.string().min(1),
}).transform(({ instruction, input, output, ...beside }) => {
  const content = (input ?? '') === '' ? instruction : `${instruction}\n${input}`;
  const turns = [
    { role: 'user', content },
    { role: 'assistant', content: output },
  ];
  return chatOf({ ...beside, messages: turns });
});

function chatOf({
  messages,
  system,
  tools,
  chat_template_kwargs,
}: Pick<Chat, 'messages'> & z.infer<typeof Beside>): Chat {
  const first = (system ?? '') === '' ? [] : [{ role: 'system', content: system }];
  return {
    messages: [...first, ...messages],
    ...(tools && { tools }),
    ...(chat_template_kwargs && { variables: chat_template_kwargs }),
  };
}

function hasAnswer(field: string, error: string): Parameters<z.ZodType<Chat>['refine']> {
  return [(chat) => chat.messages.some(({ role }) => role === 'assistant'), { path: [field], error }];
}
