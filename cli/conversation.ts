/** Turns of a chat in the terminal: a line from stdin, then the model's answer. */
import { createInterface } from 'node:readline/promises';
import type { Message } from '../model/chat-template.ts';

/** Until stdin ends. @param answer writes its answer to the messages so far to stdout, and returns it */
export async function converse(answer: (messages: readonly Message[]) => Promise<string>): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
  const messages: Message[] = [];
  if (process.stdin.isTTY) lines.prompt();
  for await (const line of lines) {
    if (line.trim() !== '') {
      messages.push({ role: 'user', content: line });
      messages.push({ role: 'assistant', content: await answer(messages) });
      process.stdout.write('\n');
    }
    if (process.stdin.isTTY) lines.prompt();
  }
}
