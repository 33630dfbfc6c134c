/** Text to token ids as the model directory's tokenizer.json and chat template say, and the conventions of which tokens make the loss. */
import { join } from 'node:path';
import { z } from 'zod';
import { usageError } from '../../proto/operating-error.ts';
import { completionRow, type TokenRow } from '../token-row.ts';
import type { Chat } from './chat-template.ts';
import type { EncodedChat, EncodedText, Refused } from './rust-tokenizer.ts';
import { parseConfig, readSpecialTokens } from './special-tokens.ts';
import { TokenizerHost } from './tokenizer-host.ts';

export interface Tokenizer {
  readonly directory: string;
  /**
   * The ids of each text with the special tokens that tokenizer.json's post-processor adds itself. A lone surrogate counts as U+FFFD.
   * @throws OperatingError (usage) that names the file and the text
   */
  encode(texts: readonly string[]): Promise<readonly EncodedText[]>;
  /**
   * The ids of each chat as the model directory's chat template writes it, and which of them the assistant writes.
   * @param asPrompts the ids of what comes before an answer, without labels
   * @throws as `encode`; a chat that the template refuses is told in its place
   */
  encodeChats(chats: readonly Chat[], asPrompts?: boolean): Promise<readonly (EncodedChat | Refused)[]>;
  /** The end-of-text token: eos_token of tokenizer_config.json, else eos_token_id of config.json (its first). Undefined too where the model has no such id. */
  readonly eosId: number | undefined;
  /** Where a generated text ends: eosId, and all eos_token_id of config.json and generation_config.json. */
  readonly endIds: ReadonlySet<number>;
  /** The text of each row of ids, without special tokens. @throws OperatingError (usage) that names the file */
  decode(ids: readonly (readonly number[])[]): Promise<readonly string[]>;
  /** Ends the process that holds the vocabulary; the next call of `encode` or `decode` starts it again. */
  close(): void;
}

/** A row as text. */
export type TextRow = OptionsText | PlainText | ChatText;

/** A prompt, and the completions that may follow it. */
export interface OptionsText {
  readonly prompt: string;
  readonly options: readonly string[];
}

/** Text whose every token makes the loss. */
export interface PlainText {
  readonly text: string;
}

/** Messages, of which those of the assistant make the loss. */
export interface ChatText {
  readonly chat: Chat;
}

/** A row as ids, before it is fitted: it may have no labels, or one that nothing comes before. */
export interface EncodedRow extends TokenRow {
  /** Special tokens that the post-processor put first. */
  readonly leading: number;
  /** The prompt's last tokens are others when the completion follows: they count as completion. */
  readonly merged: boolean;
}

/**
 * Loads the tokenizer of a model directory.
 * @param vocabularySize of the model: a text that needs a larger id is refused
 * @throws OperatingError (usage) that names the file
 */
export async function loadTokenizer(directory: string, vocabularySize = 2 ** 32): Promise<Tokenizer> {
  const eosToken = readSpecialTokens(directory).named.eos_token ?? undefined;
  const host = new TokenizerHost({ kind: 'load', file: join(directory, 'tokenizer.json'), vocabularySize, eosToken });
  const inVocabulary = await host.load();
  const [config, generation] = ['config.json', 'generation_config.json'].map((name) =>
    [parseConfig(join(directory, name), ModelConfig)?.eos_token_id ?? []].flat(),
  );
  const named = inVocabulary ?? config![0];
  // A token that a file beside tokenizer.json adds may be one that the model has no embedding of.
  const eosId = named !== undefined && named >= 0 && named < vocabularySize ? named : undefined;
  return {
    directory,
    encode: (texts) => host.encode(texts),
    encodeChats: (chats, asPrompts = false) => host.encodeChats(chats, asPrompts),
    decode: (ids) => host.decode(ids),
    eosId,
    endIds: new Set([eosId ?? [], config!, generation!].flat()),
    close: () => host.stop(),
  };
}

/**
 * The ids of every row.
 * - Options: those of `prompt + completion` as one string, for every completion; the completion is what follows the longest common
 *   prefix with the prompt's own ids. Special tokens after the prompt's own text are not part of that prefix; those after the
 *   completion belong to it.
 * - Plain text: its ids, of which all but the first are labels.
 * - A chat: what `Tokenizer.encodeChats` says. It ends as the chat template ends it.
 * @param appendEos end the ids of options and plain text with `tokenizer.eosId`, unless they end so already
 * @returns for each row its options, one where it has none; or why the chat template refuses it
 */
export async function encodeRows(
  tokenizer: Tokenizer,
  rows: readonly TextRow[],
  appendEos = false,
): Promise<(EncodedRow[] | Refused)[]> {
  if (appendEos && tokenizer.eosId === undefined)
    throw usageError(
      `${tokenizer.directory}: appendEos is asked for and neither tokenizer_config.json nor config.json names an end-of-text token that the model has`,
    );
  const eosId = appendEos ? tokenizer.eosId : undefined;
  const texts = await encodedIn(rows.flatMap(textsOf), (texts) => tokenizer.encode(texts));
  const chats = await encodedIn(
    rows.flatMap((row) => ('chat' in row ? [row.chat] : [])),
    (chats) => tokenizer.encodeChats(chats),
  );
  return rows.map((row) => {
    if ('chat' in row) {
      const chat = chats();
      return 'refused' in chat ? chat : [{ ...chat, leading: 0, merged: false }];
    }
    const first = texts();
    if ('text' in row) return [wholeRow(first, eosId)];
    return row.options.map(() => splitRow(first, texts(), eosId));
  });
}

/** What is encoded of a row, in the order in which it is taken back; nothing of a chat. */
function textsOf(row: TextRow): string[] {
  if ('chat' in row) return [];
  return 'text' in row ? [row.text] : [row.prompt, ...row.options.map((option) => row.prompt + option)];
}

/** All of `texts` encoded, to be taken one after the other. */
async function encodedIn<Text, Encoded>(
  texts: readonly Text[],
  encode: (texts: readonly Text[]) => Promise<readonly Encoded[]>,
): Promise<() => Encoded> {
  const encoded = texts.length === 0 ? [] : await encode(texts);
  let at = 0;
  return () => encoded[at++]!;
}

const wholeRow = ({ ids, leading }: EncodedText, eosId: number | undefined): EncodedRow => ({
  ...completionRow(ended(ids, eosId), 1),
  leading,
  merged: false,
});

function splitRow(prompt: EncodedText, whole: EncodedText, eosId: number | undefined): EncodedRow {
  const { ids, leading, trailing } = whole;
  // Where nothing of the text is left, no special token can be told to be before or after it: the completion is empty.
  const promptLength = leading === ids.length ? leading : prompt.ids.length - trailing;
  let firstCompletion = 0;
  while (firstCompletion < promptLength && ids[firstCompletion] === prompt.ids[firstCompletion]) firstCompletion++;
  const row = completionRow(ended(ids, eosId), firstCompletion);
  return { ...row, leading, merged: firstCompletion < promptLength };
}

const ended = (ids: readonly number[], eosId: number | undefined): readonly number[] =>
  eosId === undefined || ids.at(-1) === eosId ? ids : [...ids, eosId];

const ModelConfig = z.looseObject({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });
