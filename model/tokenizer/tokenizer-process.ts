/**
 * Process entry: owns the tokenizer and the chat template of a model directory and answers requests, one at a time. A process of its
 * own, since a panic of the Rust library, or a template that fills the memory, ends the process that it is in.
 */
import { dirname } from 'node:path';
import { type Chat, type ChatTemplate, openChatTemplate, type RenderedChat } from './chat-template.ts';
import {
  type EncodedChat,
  type EncodedText,
  openRustTokenizer,
  type Refused,
  type RustTokenizer,
} from './rust-tokenizer.ts';

export type TokenizerRequest =
  | {
      readonly kind: 'load';
      readonly file: string;
      readonly vocabularySize: number;
      /** Its id is asked for. */
      readonly eosToken: string | undefined;
    }
  | { readonly kind: 'encode'; readonly texts: readonly string[] }
  | {
      readonly kind: 'encodeChats';
      readonly chats: readonly Chat[];
      /** The ids of what comes before an answer are asked for; no turns, so no labels. */
      readonly asPrompts: boolean;
    }
  | { readonly kind: 'decode'; readonly rows: readonly (readonly number[])[] };

export type TokenizerReply =
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'loaded'; readonly eosId: number | undefined }
  | { readonly kind: 'encoded'; readonly texts: readonly EncodedText[] }
  | { readonly kind: 'encodedChats'; readonly chats: readonly (EncodedChat | Refused)[] }
  | { readonly kind: 'decoded'; readonly texts: readonly string[] };

let directory: string;
let tokenizer: RustTokenizer | undefined;

process.on('message', async (request: TokenizerRequest) => {
  let reply: TokenizerReply;
  try {
    reply = await answer(request);
  } catch (error) {
    reply = { kind: 'failed', reason: reasonOf(error) };
  }
  process.send!(reply);
});

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 500);

async function answer(request: TokenizerRequest): Promise<TokenizerReply> {
  if (request.kind === 'encode') return { kind: 'encoded', texts: await tokenizer!.encode(request.texts) };
  if (request.kind === 'encodeChats') return { kind: 'encodedChats', chats: await encodeChats(request) };
  if (request.kind === 'decode') return { kind: 'decoded', texts: await tokenizer!.decode(request.rows) };
  const { file, vocabularySize, eosToken } = request;
  directory = dirname(file);
  tokenizer = openRustTokenizer(file, vocabularySize);
  return { kind: 'loaded', eosId: eosToken === undefined ? undefined : tokenizer.idOf(eosToken) };
}

async function encodeChats({ chats, asPrompts }: Extract<TokenizerRequest, { kind: 'encodeChats' }>) {
  const rendered = chats.map((chat): RenderedChat | Refused => {
    try {
      const template = templateFor(chat);
      return asPrompts ? { ...template.render(chat, true), generated: [] } : template.turns(chat);
    } catch (error) {
      return { refused: reasonOf(error) };
    }
  });
  const encoded = (await tokenizer!.encodeChats(rendered.filter((chat) => 'text' in chat)))[Symbol.iterator]();
  return rendered.map((chat) => ('text' in chat ? encoded.next().value! : chat));
}

/** One for chats with tools, one for others; both may be the same. */
const templates = new Map<boolean, ChatTemplate>();

function templateFor({ tools }: Chat): ChatTemplate {
  const withTools = tools !== undefined;
  const template = templates.get(withTools) ?? openChatTemplate(directory, withTools);
  if (template === undefined)
    throw new Error(
      `${directory}: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so it reads no chats; take its instruction-tuned version, or write {"prompt", "completion"} rows`,
    );
  templates.set(withTools, template);
  return template;
}
