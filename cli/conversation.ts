/** Turns of a chat in the terminal: a line from stdin, then the model's answer. */
import { createInterface } from 'node:readline/promises';
import type { Message } from '../model/tokenizer/chat-template.ts';

/** Until `input` ends. @param answer writes its answer to the messages so far to stdout, and returns it */
export async function converse(
  answer: (messages: readonly Message[]) => Promise<string>,
  input: NodeJS.ReadStream = process.stdin,
  output: NodeJS.WritableStream = process.stderr,
): Promise<void> {
  const lines = createInterface({ input, output, prompt: '> ' });
  const messages: Message[] = [];
  if (input.isTTY) {
    output.write('A line, then the answer; Ctrl-D ends the conversation.\n');
    lines.prompt();
  }
  for await (const line of lines) {
    if (line.trim() !== '') {
      messages.push({ role: 'user', content: line });
      messages.push({ role: 'assistant', content: await answer(messages) });
      process.stdout.write('\n');
    }
    if (input.isTTY) lines.prompt();
  }
}
