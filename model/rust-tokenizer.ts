/** A tokenizer.json in the Rust tokenizers library, within this process: a text or a file that the library does not like may end it. */
import { Tokenizer } from 'tokenizers';
import { readTextFile } from '../platform/read-json-file.ts';

/** Bytes; Gemma's is 33 MB. */
const MAX_TOKENIZER_BYTES = 256 * 2 ** 20;

export interface EncodedText {
  readonly ids: readonly number[];
  /** Special tokens that the post-processor put before and after the text; both are all of `ids` where the text gives none. */
  readonly leading: number;
  readonly trailing: number;
}

export interface RustTokenizer {
  /** Undefined for a token that is in no vocabulary. */
  idOf(token: string): number | undefined;
  /** @throws Error that says what is wrong with one of the texts */
  encode(texts: readonly string[]): Promise<EncodedText[]>;
  /** Special tokens give no text. */
  decode(ids: readonly (readonly number[])[]): Promise<string[]>;
}

/**
 * Only `file` decides, less what transformers sets anew for every text: truncation and padding.
 * @param vocabularySize an id that is not below it is an error
 * @throws Error that says what is wrong with the file
 */
export function openRustTokenizer(file: string, vocabularySize: number): RustTokenizer {
  const text = readTextFile(file, MAX_TOKENIZER_BYTES);
  const library = Tokenizer.fromString(text);
  const { dropout } = JSON.parse(text).model;
  if (dropout) throw new Error(`model.dropout is ${dropout}, which draws other ids every time; expected 0 or null`);
  library.disableTruncation();
  library.disablePadding();
  return {
    idOf: (token) => library.tokenToId(token) ?? undefined,
    encode: async (texts) =>
      (await library.encodeBatch([...texts])).map((encoding) => encodedText(encoding, vocabularySize)),
    decode: (ids) =>
      library.decodeBatch(
        ids.map((row) => [...row]),
        true,
      ),
  };
}

function encodedText(encoding: Awaited<ReturnType<Tokenizer['encode']>>, vocabularySize: number): EncodedText {
  const ids = encoding.getIds();
  for (const [i, id] of ids.entries())
    if (id >= vocabularySize)
      throw new Error(
        `token ${JSON.stringify(encoding.getTokens()[i])} has id ${id}, the model of this directory knows ids below ${vocabularySize}`,
      );
  const isText = (mask: number): boolean => mask === 0;
  const special = encoding.getSpecialTokensMask();
  const leading = special.findIndex(isText);
  if (leading < 0) return { ids, leading: ids.length, trailing: ids.length };
  return { ids, leading, trailing: ids.length - 1 - special.findLastIndex(isText) };
}
