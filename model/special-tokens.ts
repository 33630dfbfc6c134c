/**
 * What tokenizer_config.json and the older special_tokens_map.json say of special tokens. Beside tokenizer.json they matter: transformers
 * makes an added token of each that is none yet, so that no text is split within it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../platform/read-json-file.ts';
import { usageError } from '../proto/operating-error.ts';

const MAX_CONFIG_BYTES = 16 * 2 ** 20;

const Flags = z.looseObject({
  content: z.string(),
  special: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  normalized: z.boolean().optional(),
  single_word: z.boolean().optional(),
});
/** A token with what it takes of the text around it. */
export type FlaggedToken = z.infer<typeof Flags>;

const Token = z.union([z.string().transform((content): FlaggedToken => ({ content })), Flags]);
const Named = z.looseObject({
  bos_token: Token.nullish(),
  eos_token: Token.nullish(),
  unk_token: Token.nullish(),
  sep_token: Token.nullish(),
  pad_token: Token.nullish(),
  cls_token: Token.nullish(),
  mask_token: Token.nullish(),
});
/** The names that transformers knows special tokens by, in its order. */
export const SPECIAL_NAMES = Named.keyof().options;
type Name = (typeof SPECIAL_NAMES)[number];
/** Undefined for a token that no file names, null for one that a file says there is none of. */
export type SpecialTokens = Readonly<Partial<Record<Name, string | null | undefined>>>;

const Several = z.union([z.array(Token), z.record(z.string(), Token).transform(Object.values<FlaggedToken>)]).nullish();
const Config = Named.extend({
  additional_special_tokens: Several,
  extra_special_tokens: Several,
  added_tokens_decoder: z.record(z.string(), Flags).nullish(),
  split_special_tokens: z.boolean().nullish(),
  add_prefix_space: z.boolean().nullish(),
});

export interface SpecialTokensOfModel {
  readonly named: SpecialTokens;
  /** Added tokens, which are as they are here whatever tokenizer.json says of them; added first. */
  readonly listed: readonly FlaggedToken[];
  /** Added where they are no added tokens yet. */
  readonly special: readonly FlaggedToken[];
  /** tokenizer_config.json asks for a space before each text. */
  readonly prefixSpace: boolean;
}

/** @throws OperatingError (usage) that names the file, and what of it is not computed */
export function readSpecialTokens(directory: string): SpecialTokensOfModel {
  const file = join(directory, 'tokenizer_config.json');
  const config = parseConfig(file, Config) ?? {};
  if (config.split_special_tokens)
    throw usageError(
      `${file}: split_special_tokens is true, expected false: special tokens in a text are not split here`,
    );
  // As transformers: the older file counts where the newer one does not list the added tokens.
  const legacy =
    'added_tokens_decoder' in config ? {} : parseConfig(join(directory, 'special_tokens_map.json'), Config);
  const given = { ...config, ...legacy };
  const listed = Object.entries(config.added_tokens_decoder ?? {}).sort(([a], [b]) => Number(a) - Number(b));
  const special = [
    ...SPECIAL_NAMES.flatMap((name) => given[name] ?? []),
    ...[given.additional_special_tokens ?? [], given.extra_special_tokens ?? []].flat(),
  ];
  return {
    named: Object.fromEntries(
      SPECIAL_NAMES.map((name) => [name, given[name]?.content ?? given[name]]),
    ) as SpecialTokens,
    listed: listed.map(([, token]) => token),
    special: special.map((token) => ({ ...token, special: true })),
    prefixSpace: config.add_prefix_space ?? false,
  };
}

/** Undefined where there is no such file. @throws OperatingError (usage) that names it */
export function parseConfig<T>(file: string, schema: z.ZodType<T>): T | undefined {
  if (!existsSync(file)) return undefined;
  const parsed = schema.safeParse(readJsonFile(file, MAX_CONFIG_BYTES));
  if (!parsed.success) throw usageError(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
