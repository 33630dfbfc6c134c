/** Text to token ids as the model directory's tokenizer.json says, and the convention that splits a row into prompt and completion. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as LibraryConstructor } from '@huggingface/tokenizers';
import { z } from 'zod';
import { readJsonFile } from '../platform/read-json-file.ts';
import { usageError } from '../proto/operating-error.ts';
import { correctTokenizer, type LibraryTokenizer } from './tokenizer-corrections.ts';

/** Bytes; Gemma's is 33 MB. */
const MAX_TOKENIZER_BYTES = 256 * 2 ** 20;
const MAX_CONFIG_BYTES = 16 * 2 ** 20;
const MAX_ID = 2 ** 24;

export interface Tokenizer {
  readonly directory: string;
  /** The ids of `text` with the special tokens that tokenizer.json's post-processor adds itself. A lone surrogate counts as U+FFFD. */
  encode(text: string): number[];
  /** Special tokens that the post-processor puts before and after every text. */
  readonly leading: number;
  readonly trailing: number;
  /** The end-of-text token: eos_token of tokenizer_config.json, else eos_token_id of config.json (its first). */
  readonly eosId: number | undefined;
}

/** A row as ids. The completion is ids[firstCompletion …]. */
export interface EncodedRow {
  readonly ids: number[];
  readonly firstCompletion: number;
  /** The prompt's last tokens are others when the completion follows: they count as completion. */
  readonly merged: boolean;
}

/**
 * Loads the tokenizer of a model directory.
 * @param vocabularySize of the model: a text that needs a larger id is refused
 * @throws OperatingError (usage) that names the file
 */
export function loadTokenizer(directory: string, vocabularySize = MAX_ID + 1): Tokenizer {
  const file = join(directory, 'tokenizer.json');
  const library = buildTokenizer(file, readJsonFile(file, MAX_TOKENIZER_BYTES));
  checkIds(file, library);
  const encode = (text: string, special: boolean): number[] => {
    try {
      const { ids, tokens } = library.encode(text.replace(/\p{Surrogate}/gu, '\ufffd'), {
        add_special_tokens: special,
      });
      return ids.map((id, i) => {
        if (id === undefined) throw new Error(`no id for ${JSON.stringify(tokens[i])}`);
        if (id >= vocabularySize)
          throw new Error(
            `token ${JSON.stringify(tokens[i])} has id ${id}, the model of this directory knows ids below ${vocabularySize}`,
          );
        return id;
      });
    } catch (error) {
      throw usageError(`${file}: cannot encode ${JSON.stringify(text.slice(0, 100))}: ${reason(error)}`, {
        cause: error,
      });
    }
  };
  return {
    directory,
    encode: (text) => encode(text, true),
    ...specialTokens(encode('a', true), encode('a', false)),
    eosId: eosId(directory, library),
  };
}

/**
 * The ids of `prompt + completion` as one string; the completion is what follows the longest common prefix with the prompt's
 * own ids. Special tokens after the prompt's own text are not part of that prefix; those after the completion belong to it.
 * @param appendEos end the ids with `tokenizer.eosId`, unless they end so already
 */
export function encodeRow(tokenizer: Tokenizer, prompt: string, completion: string, appendEos = false): EncodedRow {
  const ids = tokenizer.encode(prompt + completion);
  const own = tokenizer.encode(prompt);
  const promptLength = own.length - tokenizer.trailing;
  let firstCompletion = 0;
  while (firstCompletion < promptLength && ids[firstCompletion] === own[firstCompletion]) firstCompletion++;
  if (appendEos) {
    if (tokenizer.eosId === undefined)
      throw usageError(
        `${tokenizer.directory}: appendEos is asked for and neither tokenizer_config.json nor config.json names an end-of-text token`,
      );
    if (ids.at(-1) !== tokenizer.eosId) ids.push(tokenizer.eosId);
  }
  return { ids, firstCompletion, merged: firstCompletion < promptLength };
}

function buildTokenizer(file: string, json: unknown): LibraryTokenizer {
  try {
    // Only tokenizer.json decides: what tokenizer_config.json adds concerns other libraries.
    const library: LibraryTokenizer = new LibraryConstructor(json as object, {});
    correctTokenizer(library);
    return library;
  } catch (error) {
    throw usageError(`${file}: not a tokenizer that is supported: ${reason(error)}`, { cause: error });
  }
}

/** Finds the text's own ids `bare` within `whole`. */
function specialTokens(whole: number[], bare: number[]): { leading: number; trailing: number } {
  const added = whole.length - bare.length;
  for (let leading = 0; leading <= added; leading++)
    if (bare.every((id, i) => whole[leading + i] === id)) return { leading, trailing: added - leading };
  return { leading: 0, trailing: 0 };
}

const TokenizerConfig = z.looseObject({
  eos_token: z
    .union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)])
    .nullish(),
});
const ModelConfig = z.looseObject({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });

function eosId(directory: string, library: LibraryTokenizer): number | undefined {
  const token = readConfig(directory, 'tokenizer_config.json', TokenizerConfig)?.eos_token;
  const id = token == null ? undefined : library.token_to_id(token);
  return id ?? [readConfig(directory, 'config.json', ModelConfig)?.eos_token_id ?? []].flat()[0];
}

function readConfig<T>(directory: string, name: string, schema: z.ZodType<T>): T | undefined {
  const file = join(directory, name);
  if (!existsSync(file)) return undefined;
  const parsed = schema.safeParse(readJsonFile(file, MAX_CONFIG_BYTES));
  if (!parsed.success) throw usageError(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function checkIds(file: string, library: LibraryTokenizer): void {
  for (const [token, id] of [
    ...library.model.tokens_to_ids,
    ...Array.from(library.get_added_tokens_decoder().values(), ({ content, id }): [string, number] => [content, id]),
  ]) {
    if (!Number.isSafeInteger(id) || id < 0 || id > MAX_ID)
      throw usageError(`${file}: token ${JSON.stringify(token)} has id ${id}, expected an integer from 0 to ${MAX_ID}`);
  }
}

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 500);
