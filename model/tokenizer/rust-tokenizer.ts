/** A tokenizer.json in the Rust tokenizers library, within this process: a text or a file that the library does not like may end it. */
import { dirname } from 'node:path';
import { AddedToken, type Encoding, Tokenizer, templateProcessing } from 'tokenizers';
import { readTextFile } from '../../platform/read-json-file.ts';
import type { RenderedChat } from './chat-template.ts';
import { type FlaggedToken, MAX_TOKENIZER_BYTES, readSpecialTokens } from './special-tokens.ts';
import { rebuilt } from './tokenizer-class.ts';

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
  /** As `encode`, without special tokens of the post-processor: a chat template has written all that there are. */
  encodeChats(texts: readonly RenderedChat[]): Promise<(EncodedChat | Refused)[]>;
  /** Special tokens give no text. */
  decode(ids: readonly (readonly number[])[]): Promise<string[]>;
}

export interface EncodedChat {
  readonly ids: readonly number[];
  /** Positions of the tokens that the assistant writes a part of, as transformers' assistant mask has them; ascending. */
  readonly labels: readonly number[];
}

/** A text that cannot be encoded, and why. */
export interface Refused {
  readonly refused: string;
}

/**
 * `file` decides, less what transformers sets anew for every text: truncation and padding. The special tokens that the files beside it
 * name are added, as transformers does.
 * @param vocabularySize an id that is not below it is an error
 * @throws Error that says what is wrong with the file
 */
export function openRustTokenizer(file: string, vocabularySize: number): RustTokenizer {
  const { library, hole, cleansUp } = openLibrary(file);
  const check = (encoding: Encoding, text: string): void => {
    if (hole && text.includes(hole.token))
      throw new Error(`${hole.token} asks ${hole.className} to fill in what is missing, which is not done here`);
    checkIds(encoding, vocabularySize);
  };
  return {
    idOf: (token) => library.tokenToId(token) ?? undefined,
    encode: async (texts) =>
      (await library.encodeBatch([...texts])).map((encoding, i) => {
        check(encoding, texts[i]!);
        return encodedText(encoding);
      }),
    encodeChats: async (texts) => {
      const options = { addSpecialTokens: false };
      const encodings = await library.encodeBatch(
        texts.map(({ text }) => text),
        options,
      );
      return encodings.map((encoding, i) => {
        try {
          check(encoding, texts[i]!.text);
        } catch (error) {
          return { refused: (error as Error).message };
        }
        return { ids: encoding.getIds(), labels: labelsOf(encoding, texts[i]!) };
      });
    },
    decode: async (ids) => {
      const texts = await library.decodeBatch(
        ids.map((row) => [...row]),
        true,
      );
      return cleansUp ? texts.map(withoutSpaces) : texts;
    },
  };
}

interface Opened {
  readonly library: Tokenizer;
  /** The token at which the class would fill in what is missing in a text. */
  readonly hole: { readonly token: string; readonly className: string } | undefined;
  /** Whether spaces before punctuation are taken out of a decoded text. */
  readonly cleansUp: boolean;
}

/** The library's tokenizer as transformers makes it of `file` and of those beside it. */
function openLibrary(file: string): Opened {
  const text = readTextFile(file, MAX_TOKENIZER_BYTES);
  const { listed, isListed, special, named, config, tokenizerClass } = readSpecialTokens(dirname(file));
  const parsed = JSON.parse(text);
  const json = tokenizerClass ? rebuilt(parsed, tokenizerClass, config, named.unk_token ?? undefined) : parsed;
  if (tokenizerClass && isListed) json.added_tokens = [];
  const library = Tokenizer.fromString(json === parsed ? text : JSON.stringify(json));
  const { model, added_tokens: own, pre_tokenizer: split } = json;
  const { dropout } = model;
  if (dropout) throw new Error(`model.dropout is ${dropout}, which draws other ids every time; expected 0 or null`);
  library.disableTruncation();
  library.disablePadding();
  if (config.add_prefix_space && /"ByteLevel","add_prefix_space":false/.test(JSON.stringify(split)))
    throw new Error(
      'pre_tokenizer puts no space before a text (add_prefix_space is false), and tokenizer_config.json says add_prefix_space: true; let both say the same',
    );
  const ids = new Set((own ?? []).map(({ id }: { id: number }) => id));
  addTokens(
    library,
    listed.filter(({ unlessId }) => unlessId === undefined || !ids.has(unlessId)),
  );
  // Where nothing else names one, the token that the file pads with is a special token.
  const pad = named.pad_token === undefined && json.padding?.pad_token;
  const wanted = pad ? [...special, { content: pad, special: true }] : special;
  const known = new Set([...(own ?? []), ...listed].map(({ content }) => content));
  addTokens(
    library,
    wanted.filter(({ content }) => !known.has(content)),
  );
  if (tokenizerClass?.plainSpecials)
    addTokens(
      library,
      special.map(({ content }) => ({ content, special: true })),
    );
  if (tokenizerClass?.startsWith) {
    const start = named[tokenizerClass.startsWith];
    const withStart =
      start && templateProcessing(`${start} $A`, `${start} $A $B`, [[start, library.tokenToId(start)!]]);
    library.setPostProcessor(withStart || templateProcessing('$A'));
  }
  const token = tokenizerClass?.splitsAt && named[tokenizerClass.splitsAt];
  return {
    library,
    hole: token ? { token, className: tokenizerClass.name } : undefined,
    cleansUp: config.clean_up_tokenization_spaces === true && model.type !== 'BPE',
  };
}

/** As transformers' clean_up_tokenization. */
const withoutSpaces = (text: string): string =>
  text
    .replace(/ (?=[.?!,])/g, '')
    .replaceAll(" ' ", "'")
    .replace(/ (?=n't|'m|'s|'ve|'re)/g, '');

function addTokens(library: Tokenizer, tokens: readonly FlaggedToken[]): void {
  for (const { content, special = false, normalized = !special, ...flags } of tokens) {
    const { lstrip: leftStrip = false, rstrip: rightStrip = false, single_word: singleWord = false } = flags;
    library.addAddedTokens([new AddedToken(content, special, { leftStrip, rightStrip, singleWord, normalized })]);
  }
}

function labelsOf(encoding: Encoding, { text, generated }: RenderedChat): number[] {
  const labels: number[] = [];
  const spans = inCodePoints(text, generated);
  let span = 0;
  for (const [i, [start, end]] of encoding.getOffsets().entries()) {
    while (span < spans.length && start! >= spans[span]![1]) span++;
    if (span < spans.length && end! > spans[span]![0]) labels.push(i);
  }
  return labels;
}

/** Spans of UTF-16 code units as spans of code points, in which the library counts. */
function inCodePoints(text: string, spans: RenderedChat['generated']): [number, number][] {
  let [at, points] = [0, 0];
  const pointsTo = (unit: number): number => {
    for (const _ of text.slice(at, unit)) points++;
    at = unit;
    return points;
  };
  return spans.map(([start, end]) => [pointsTo(start), pointsTo(end)]);
}

function checkIds(encoding: Encoding, vocabularySize: number): void {
  for (const [i, id] of encoding.getIds().entries())
    if (id >= vocabularySize)
      throw new Error(
        `token ${JSON.stringify(encoding.getTokens()[i])} has id ${id}, the model of this directory knows ids below ${vocabularySize}`,
      );
}

function encodedText(encoding: Encoding): EncodedText {
  const ids = encoding.getIds();
  const isText = (mask: number): boolean => mask === 0;
  const special = encoding.getSpecialTokensMask();
  const leading = special.findIndex(isText);
  if (leading < 0) return { ids, leading: ids.length, trailing: ids.length };
  return { ids, leading, trailing: ids.length - 1 - special.findLastIndex(isText) };
}
