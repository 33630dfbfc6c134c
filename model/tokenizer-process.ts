/**
 * Process entry: owns one tokenizer and answers requests, one at a time. A process of its own, since a panic of the Rust
 * library ends the process that it is in.
 */
import { type EncodedText, openRustTokenizer, type RustTokenizer } from './rust-tokenizer.ts';

export type TokenizerRequest =
  | {
      readonly kind: 'load';
      readonly file: string;
      readonly vocabularySize: number;
      /** Its id is asked for. */
      readonly eosToken: string | undefined;
    }
  | { readonly kind: 'encode'; readonly texts: readonly string[] }
  | { readonly kind: 'decode'; readonly ids: readonly (readonly number[])[] };

export type TokenizerReply =
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'loaded'; readonly eosId: number | undefined }
  | { readonly kind: 'encoded'; readonly texts: readonly EncodedText[] }
  | { readonly kind: 'decoded'; readonly texts: readonly string[] };

let tokenizer: RustTokenizer | undefined;

process.on('message', async (request: TokenizerRequest) => {
  let reply: TokenizerReply;
  try {
    reply = await answer(request);
  } catch (error) {
    reply = { kind: 'failed', reason: (error instanceof Error ? error.message : String(error)).slice(0, 500) };
  }
  process.send!(reply);
});

async function answer(request: TokenizerRequest): Promise<TokenizerReply> {
  if (request.kind === 'encode') return { kind: 'encoded', texts: await tokenizer!.encode(request.texts) };
  if (request.kind === 'decode') return { kind: 'decoded', texts: await tokenizer!.decode(request.ids) };
  const { file, vocabularySize, eosToken } = request;
  tokenizer = openRustTokenizer(file, vocabularySize);
  return { kind: 'loaded', eosId: eosToken === undefined ? undefined : tokenizer.idOf(eosToken) };
}
