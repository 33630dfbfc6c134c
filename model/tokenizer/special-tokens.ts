/**
 * What tokenizer_config.json and the older special_tokens_map.json say of special tokens. Beside tokenizer.json they matter: transformers
 * makes an added token of each that is none yet, so that no text is split within it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile, readTextFile } from '../../platform/read-json-file.ts';
import { OperatingError, usageError } from '../../proto/operating-error.ts';
import { type TokenizerClass, tokenizerClassOf } from './tokenizer-class.ts';

const MAX_CONFIG_BYTES = 16 * 2 ** 20;
/** Gemma's is 33 MB. */
export const MAX_TOKENIZER_BYTES = 256 * 2 ** 20;

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

const Text = z.string().transform((content): FlaggedToken => ({ content }));
const Token = z.union([Text, Flags]);
/** In tokenizer_config.json an object is a token where it says so. */
const Typed = Flags.extend({ __type: z.literal('AddedToken') });
/** The names that transformers knows special tokens by, in its order. */
export const SPECIAL_NAMES = [
  ...['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'],
] as const;
/** By name. Undefined for a token that no file names, null for one that a file says there is none of. */
export type SpecialTokens = Readonly<Record<string, string | null | undefined>>;

const Config = z.looseObject({
  ...Object.fromEntries(SPECIAL_NAMES.map((name) => [name, Token.nullish()])),
  additional_special_tokens: z.array(Token).nullish(),
  extra_special_tokens: z.union([z.array(Token), z.record(z.string(), Token)]).nullish(),
  added_tokens_decoder: z.record(z.string(), Flags).nullish(),
  split_special_tokens: z.boolean().nullish(),
  add_prefix_space: z.boolean().nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  legacy: z.boolean().nullish(),
  fast_tokenizer_files: z.array(z.string()).nullish(),
  tokenizer_class: z.string().nullish(),
});
type Config = z.infer<typeof Config>;
const ModelConfig = z.looseObject({ model_type: z.string().nullish(), tokenizer_class: z.string().nullish() });

/** Added where tokenizer.json has no added token of the id `unlessId`, if that is given. */
export type ListedToken = FlaggedToken & { readonly unlessId?: number };

export interface SpecialTokensOfModel {
  readonly named: SpecialTokens;
  /** Added tokens, which are as they are here whatever tokenizer.json says of them; added first. */
  readonly listed: readonly ListedToken[];
  /** tokenizer_config.json lists the added tokens itself. */
  readonly isListed: boolean;
  /** Added where they are no added tokens yet. */
  readonly special: readonly FlaggedToken[];
  /** tokenizer_config.json, as far as it matters beside its tokens. */
  readonly config: Pick<Config, 'add_prefix_space' | 'clean_up_tokenization_spaces' | 'legacy'>;
  /** Undefined where tokenizer.json counts as it stands. */
  readonly tokenizerClass: TokenizerClass | undefined;
}

/** @throws OperatingError (usage) that names the file, and what of it is not computed */
export function readSpecialTokens(directory: string): SpecialTokensOfModel {
  const file = join(directory, 'tokenizer_config.json');
  const config: Config = parseConfig(file, Config) ?? {};
  if (config.split_special_tokens)
    throw usageError(
      `${file}: split_special_tokens is true, expected false: special tokens in a text are not split here`,
    );
  const versioned = config.fast_tokenizer_files?.find((name) => /tokenizer\..+\.json/.test(name));
  if (versioned !== undefined)
    throw usageError(
      `${file}: fast_tokenizer_files names ${versioned}, which transformers may read in place of tokenizer.json; expected one file: leave the key out, and let tokenizer.json be the one that counts`,
    );
  const tokenizerClass = classIn(directory, file, config);
  const isListed = 'added_tokens_decoder' in config;
  // As transformers: the older file counts where the newer one does not list the added tokens.
  const map: Config = (isListed ? undefined : parseConfig(join(directory, 'special_tokens_map.json'), Config)) ?? {};
  const given = { ...tokenizerClass?.defaults, ...config, ...map };
  const standard = SPECIAL_NAMES.map((name) => [name, Token.nullish().parse(given[name])] as const);
  const { own, extra, late } = furtherTokens(config, map, tokenizerClass?.defaults ?? {});
  const named = [...standard, ...Object.entries(own)];
  const tokens = (of: typeof named): FlaggedToken[] => of.flatMap(([, token]) => token ?? []);
  const early = new Set([...tokens(standard), ...extra].map(({ content }) => content));
  return {
    named: Object.fromEntries(named.map(([name, token]) => [name, token?.content ?? token])) as SpecialTokens,
    listed: isListed ? tokensById(config.added_tokens_decoder ?? {}) : addedTokens(directory, early),
    isListed,
    special: [...tokens(named), ...extra, ...late].map((token) => ({ ...token, special: true })),
    config,
    tokenizerClass,
  };
}

function classIn(directory: string, file: string, config: Config): TokenizerClass | undefined {
  const model = parseConfig(join(directory, 'config.json'), ModelConfig);
  const text = (): string => readTextFile(join(directory, 'tokenizer.json'), MAX_TOKENIZER_BYTES);
  const named = config.tokenizer_class ?? model?.tokenizer_class ?? undefined;
  try {
    return tokenizerClassOf(model?.model_type ?? undefined, named, () => /"type":\s*"ByteLevel"/.test(text()));
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw usageError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Tokens beyond the standard ones, as transformers gathers them: `own` are named by the model (`image_token`), which its chat template
 * knows by these names too; `extra` and `late` have no names, and added_tokens.json is read between them.
 */
function furtherTokens(
  config: Config,
  map: Config,
  defaults: TokenizerClass['defaults'],
): { own: Record<string, FlaggedToken>; extra: readonly FlaggedToken[]; late: readonly FlaggedToken[] } {
  const typed = { ...ownTokens(config, Typed), ...ownTokens(map, Token) };
  const own = { ...ownTokens(defaults, Text), ...typed, ...ownTokens(config, Text) };
  for (const name in defaults) if ({ ...config, ...map }[name] === null) delete own[name];
  /** What of `given` has no names, or null; undefined where a file says nothing of such tokens, or names them all. */
  const nameless = (given: Config['extra_special_tokens']): readonly FlaggedToken[] | null | undefined => {
    if (!given || Array.isArray(given)) return given;
    Object.assign(own, given);
    return undefined;
  };
  let { additional_special_tokens: additional, extra_special_tokens: given } = config;
  if (additional !== undefined && Object.keys(given ?? {}).length === 0) [given, additional] = [additional, undefined];
  let extra = nameless(given);
  const more = map.extra_special_tokens;
  if (more !== undefined) extra = Array.isArray(more) ? [...(extra ?? []), ...more] : nameless(more);
  if ('additional_special_tokens' in map) additional = map.additional_special_tokens;
  return { own, extra: extra ?? [], late: (extra === undefined && additional) || [] };
}

/** The fields `…_token` that are no standard names and that `schema` knows for tokens. */
function ownTokens(
  config: Readonly<Record<string, unknown>>,
  schema: z.ZodType<FlaggedToken>,
): Record<string, FlaggedToken> {
  const found: Record<string, FlaggedToken> = {};
  for (const [name, value] of Object.entries(config)) {
    const token = schema.safeParse(value);
    if (name.endsWith('_token') && !SPECIAL_NAMES.includes(name as never) && token.success) found[name] = token.data;
  }
  return found;
}

const tokensById = (tokens: Readonly<Record<string, FlaggedToken>>): FlaggedToken[] =>
  Object.entries(tokens)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, token]) => token);

/** Those of added_tokens.json, which an older transformers wrote: ids by text. */
function addedTokens(directory: string, special: ReadonlySet<string>): ListedToken[] {
  const ids = parseConfig(join(directory, 'added_tokens.json'), z.record(z.string(), z.number())) ?? {};
  return Object.entries(ids)
    .sort(([, a], [, b]) => a - b)
    .map(([content, unlessId]) => ({ content, special: special.has(content), unlessId }));
}

/** Undefined where there is no such file. @throws OperatingError (usage) that names it */
export function parseConfig<T>(file: string, schema: z.ZodType<T>): T | undefined {
  if (!existsSync(file)) return undefined;
  const parsed = schema.safeParse(readJsonFile(file, MAX_CONFIG_BYTES));
  if (!parsed.success) throw usageError(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
