/** Text to token ids as the model directory's tokenizer.json says, and the convention that splits a row into prompt and completion. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../platform/read-json-file.ts';
import { usageError } from '../proto/operating-error.ts';
import type { EncodedText } from './rust-tokenizer.ts';
import { TokenizerHost } from './tokenizer-host.ts';

const MAX_CONFIG_BYTES = 16 * 2 ** 20;

export interface Tokenizer {
  readonly directory: string;
  /**
   * The ids of each text with the special tokens that tokenizer.json's post-processor adds itself. A lone surrogate counts as U+FFFD.
   * @throws OperatingError (usage) that names the file and the text
   */
  encode(texts: readonly string[]): Promise<readonly EncodedText[]>;
  /** The end-of-text token: eos_token of tokenizer_config.json, else eos_token_id of config.json (its first). */
  readonly eosId: number | undefined;
  /** Where a generated text ends: eosId, and all eos_token_id of config.json and generation_config.json. */
  readonly endIds: ReadonlySet<number>;
  /** The text of each row of ids, without special tokens. @throws OperatingError (usage) that names the file */
  decode(ids: readonly (readonly number[])[]): Promise<readonly string[]>;
  /** Ends the process that holds the vocabulary; the next call of `encode` or `decode` starts it again. */
  close(): void;
}

/** A prompt, and the completions that may follow it. */
export interface TextRow {
  readonly prompt: string;
  readonly options: readonly string[];
}

/** A row as ids. The completion is ids[firstCompletion …]. */
export interface EncodedRow {
  readonly ids: readonly number[];
  readonly firstCompletion: number;
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
  const eosToken = readConfig(directory, 'tokenizer_config.json', TokenizerConfig)?.eos_token ?? undefined;
  const host = new TokenizerHost({ kind: 'load', file: join(directory, 'tokenizer.json'), vocabularySize, eosToken });
  const inVocabulary = await host.load();
  const [config, generation] = ['config.json', 'generation_config.json'].map((name) =>
    [readConfig(directory, name, ModelConfig)?.eos_token_id ?? []].flat(),
  );
  const eosId = inVocabulary ?? config![0];
  return {
    directory,
    encode: (texts) => host.encode(texts),
    decode: (ids) => host.decode(ids),
    eosId,
    endIds: new Set([eosId ?? [], config!, generation!].flat()),
    close: () => host.stop(),
  };
}

/**
 * The ids of `prompt + completion` as one string, for every completion of every row; the completion is what follows the longest
 * common prefix with the prompt's own ids. Special tokens after the prompt's own text are not part of that prefix; those after
 * the completion belong to it.
 * @param appendEos end the ids with `tokenizer.eosId`, unless they end so already
 */
export async function encodeRows(
  tokenizer: Tokenizer,
  rows: readonly TextRow[],
  appendEos = false,
): Promise<EncodedRow[][]> {
  if (appendEos && tokenizer.eosId === undefined)
    throw usageError(
      `${tokenizer.directory}: appendEos is asked for and neither tokenizer_config.json nor config.json names an end-of-text token`,
    );
  const eosId = appendEos ? tokenizer.eosId : undefined;
  const texts = rows.flatMap(({ prompt, options }) => [prompt, ...options.map((option) => prompt + option)]);
  const encoded = (await tokenizer.encode(texts))[Symbol.iterator]();
  const next = (): EncodedText => encoded.next().value!;
  return rows.map(({ options }) => {
    const prompt = next();
    return options.map(() => splitRow(prompt, next(), eosId));
  });
}

function splitRow(prompt: EncodedText, whole: EncodedText, eosId: number | undefined): EncodedRow {
  const { ids, leading, trailing } = whole;
  // Where nothing of the text is left, no special token can be told to be before or after it: the completion is empty.
  const promptLength = leading === ids.length ? leading : prompt.ids.length - trailing;
  let firstCompletion = 0;
  while (firstCompletion < promptLength && ids[firstCompletion] === prompt.ids[firstCompletion]) firstCompletion++;
  const ended = eosId === undefined || ids.at(-1) === eosId ? ids : [...ids, eosId];
  return { ids: ended, firstCompletion, leading, merged: firstCompletion < promptLength };
}

const TokenizerConfig = z.looseObject({
  eos_token: z
    .union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)])
    .nullish(),
});
const ModelConfig = z.looseObject({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });

function readConfig<T>(directory: string, name: string, schema: z.ZodType<T>): T | undefined {
  const file = join(directory, name);
  if (!existsSync(file)) return undefined;
  const parsed = schema.safeParse(readJsonFile(file, MAX_CONFIG_BYTES));
  if (!parsed.success) throw usageError(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
