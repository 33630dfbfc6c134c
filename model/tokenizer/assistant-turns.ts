/**
 * Where the assistant's turns lie in a chat's text, for templates that do not mark them: a turn is what the text of the messages up to
 * it has more than the text of those before it with a generation prompt. Templates that write a turn otherwise where other messages
 * follow (without its reasoning, without an end of text) are seen through as far as it can be told.
 */
import type { Message, RenderedChat } from './chat-template.ts';

/** The text of some messages; with a generation prompt it ends with what comes before an answer. */
export type WriteChat = (messages: readonly Message[], generationPrompt: boolean) => string;

/**
 * @param endOfText what a template may write after the last message alone; empty for nothing
 * @throws Error that names the message: it cannot be told where its turn is
 */
export function assistantTurns(messages: readonly Message[], write: WriteChat, endOfText: string): RenderedChat {
  const text = write(messages, false);
  const generated: [number, number][] = [];
  for (const [i, { role }] of messages.entries()) {
    if (role !== 'assistant') continue;
    if (i === 0) throw new Error("message 1 is the assistant's, expected one of the system or the user before it");
    const turn: Turn = { messages, i, text, write, endOfText };
    const start = startOf(turn);
    const end = endOf(turn);
    if (start === undefined || end === undefined || end <= start || start < (generated.at(-1)?.[1] ?? 0))
      throw new Error(
        `writes message ${i + 1} otherwise where other messages follow, so its turn cannot be told; mark it with {% generation %} and {% endgeneration %}`,
      );
    generated.push([start, end]);
  }
  return { text, generated };
}

/** Message i of a chat, whose text is `text`. */
interface Turn {
  readonly messages: readonly Message[];
  readonly i: number;
  readonly text: string;
  readonly write: WriteChat;
  readonly endOfText: string;
}

function startOf(turn: Turn): number | undefined {
  const { messages, i, text, write, endOfText } = turn;
  const before = messages.slice(0, i);
  const asked = write(before, true);
  if (text.startsWith(asked)) return asked.length;
  // A prompt that opens more than the turn has. The turn begins where the two part, but for what its content happens to have in common
  // with the prompt: another content has not.
  const earlier = without(endOfText, write(before, false)).find((own) => text.startsWith(own));
  const start = Math.min(...[text, ...otherTexts(messages, i, write)].map((other) => commonPrefix(asked, other)));
  return earlier !== undefined && start >= earlier.length ? start : undefined;
}

function endOf({ messages, i, text, write, endOfText }: Turn): number | undefined {
  if (i === messages.length - 1) return text.length;
  const upTo = messages.slice(0, i + 1);
  const alone = write(upTo, false);
  const whole = without(endOfText, alone).find((own) => text.startsWith(own));
  if (whole !== undefined) return whole.length;
  // What differs comes before the content or after all. What closes the turn is what follows the content.
  const closing = alone.slice(afterContent(upTo, i, alone, write));
  const contentEnd = afterContent(messages, i, text, write);
  const closed = without(endOfText, closing).find((own) => own !== '' && text.startsWith(own, contentEnd));
  return closed === undefined ? undefined : contentEnd + closed.length;
}

/** Where in `text`, that of `messages`, the content of message i ends: what follows is the same whatever the content is. */
function afterContent(messages: readonly Message[], i: number, text: string, write: WriteChat): number {
  return text.length - Math.min(...otherTexts(messages, i, write).map((other) => commonSuffix(text, other)));
}

/** The texts of the chat with message i saying something else: two, one of which shares no letter with any content at one place. */
const otherTexts = (messages: readonly Message[], i: number, write: WriteChat): string[] =>
  ['x', 'y'].map((content) => write(messages.with(i, { ...messages[i], content }), false));

/** `text`, and `text` without `end` where it ends so. */
const without = (end: string, text: string): string[] =>
  end !== '' && text.endsWith(end) ? [text, text.slice(0, -end.length)] : [text];

function commonPrefix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

function commonSuffix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.at(-1 - length) === b.at(-1 - length)) length++;
  return length;
}
