/** Where @huggingface/tokenizers 0.2.0 differs from the Rust tokenizers, put right where ids were found to differ. */

/** What is used of the library's tokenizer, whose own declarations do not resolve under Node's module rules. */
export interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  token_to_id(token: string): number | undefined;
  get_added_tokens_decoder(): Map<number, { readonly content: string; readonly id: number }>;
  readonly pre_tokenizer: PreTokenizer | null;
  readonly model: Model;
}

interface PreTokenizer {
  readonly config?: { type?: string; individual_digits?: boolean; behavior?: string; pattern?: { String?: string } };
  pattern?: RegExp;
  /** Of a Sequence, which keeps no config. */
  readonly tokenizers?: readonly (PreTokenizer | null)[];
}

interface Model {
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  /** Of a BPE model, as are the others. */
  readonly bpe_ranks?: unknown;
  readonly unk_token?: string | null;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
  readonly end_of_word_suffix?: string | null;
  readonly continuing_subword_suffix?: string | null;
  encode(tokens: string[]): string[];
}

/** GPT-2's split with Rust's white space: JavaScript's `\s` has U+FEFF and lacks U+0085. */
const BYTE_LEVEL_PATTERN =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Rust's digits are all of Unicode's numbers, not ASCII's. */
const DIGITS = /[^\p{N}]+|\p{N}+/gu;
const INDIVIDUAL_DIGITS = /[^\p{N}]+|\p{N}/gu;

/**
 * Changes `tokenizer` in place.
 * @throws Error that names what the library would do wrong
 *
 * Not put right: normalisation (NFC …) follows the Unicode version of Node, which may be newer than Rust's; this concerns
 * compositions in scripts that Unicode 16 added. An added token that strips white space also strips U+FEFF.
 */
export function correctTokenizer({ pre_tokenizer, model }: LibraryTokenizer): void {
  if (pre_tokenizer !== null) correctPreTokenizer(pre_tokenizer);
  if (model.bpe_ranks !== undefined) dropUnknownFirst(model);
}

function correctPreTokenizer(preTokenizer: PreTokenizer): void {
  const { type, individual_digits, behavior, pattern } = preTokenizer.config ?? {};
  if (type === 'ByteLevel') preTokenizer.pattern = BYTE_LEVEL_PATTERN;
  if (type === 'Digits') preTokenizer.pattern = individual_digits ? INDIVIDUAL_DIGITS : DIGITS;
  // Gemma's, of a single space, never matches: its normalizer leaves none.
  if (type === 'Split' && !['isolated', 'removed'].includes(behavior?.toLowerCase() ?? '') && pattern?.String !== ' ')
    throw new Error(`pre-tokenizer Split with behavior ${behavior}`);
  for (const part of preTokenizer.tokenizers ?? []) if (part !== null) correctPreTokenizer(part);
}

/**
 * Without an unknown token Rust drops a character that the vocabulary lacks before it merges; the library drops it afterwards,
 * so that its neighbours do not meet.
 */
function dropUnknownFirst(model: Model): void {
  if (model.unk_token != null || model.byte_fallback) return;
  if (model.end_of_word_suffix || model.continuing_subword_suffix) return;
  const encode = model.encode.bind(model);
  const known = (token: string): string => {
    if (model.ignore_merges && model.tokens_to_ids.has(token)) return token;
    return Array.from(token)
      .filter((character) => model.tokens_to_ids.has(character))
      .join('');
  };
  model.encode = (tokens) => encode(tokens.map(known));
}
