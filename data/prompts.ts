/** Rows to generate from, of JSON lines: `{"prompt"}`, or `{"messages"}` of a chat. Completions, options and other fields are ignored. */
import { z } from 'zod';
import type { Message } from '../model/chat-template.ts';
import { parseExact } from '../model/jinja/exact-json.ts';
import { readLines } from '../platform/lines.ts';
import { usageError } from '../proto/operating-error.ts';

/** A text to go on with, or a chat to answer. */
export type Prompt = { readonly text: string } | { readonly messages: readonly Message[]; readonly tools?: unknown[] };

export type PromptRow = Prompt & { readonly line: number };

const Row = z.union([
  z.looseObject({ prompt: z.string() }).transform(({ prompt }) => ({ text: prompt })),
  z
    .looseObject({
      messages: z.array(z.looseObject({ role: z.string() })).min(1),
      tools: z.array(z.unknown()).optional(),
    })
    .transform(({ messages, tools }) => ({ messages: withoutAnswer(messages), ...(tools && { tools }) })),
]);

/** The rows of `file` in order. @throws OperatingError (usage) that names the file and the line */
export function* readPrompts(file: string): Generator<PromptRow> {
  for (const { number, text } of readLines(file)) {
    let row: unknown;
    try {
      row = parseExact(text);
    } catch (cause) {
      throw usageError(`${file}:${number}: not JSON: ${text.slice(0, 80)}; expected a row {"prompt": …} a line`, {
        cause,
      });
    }
    const parsed = Row.safeParse(row);
    if (!parsed.success)
      throw usageError(`${file}:${number}: expected {"prompt"} or {"messages"}, got ${text.slice(0, 120)}`);
    yield { line: number, ...parsed.data };
  }
}

/** Less the last message where the assistant wrote it: what is generated takes its place. */
function withoutAnswer(messages: readonly (Message & { readonly role: string })[]): readonly Message[] {
  return messages.at(-1)?.role === 'assistant' ? messages.slice(0, -1) : messages;
}
