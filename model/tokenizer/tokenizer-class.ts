/**
 * The tokenizer classes of transformers 5 that take vocabulary, merges, post-processor and added tokens from a tokenizer.json, and
 * bring everything else themselves, whatever the file says (AutoTokenizer.from_pretrained and the classes' `__init__`, transformers 5.24).
 */

/** What of tokenizer_config.json such a class reads beside its special tokens. */
export interface ClassOptions {
  readonly add_prefix_space?: boolean | null | undefined;
  readonly legacy?: boolean | null | undefined;
}

export interface TokenizerClass {
  readonly name: string;
  /** Special tokens that it has where no file names one, or null. */
  readonly defaults: Readonly<Record<string, string>>;
  /** It makes its special tokens anew, so that they take nothing of the text around them. */
  readonly plainSpecials: boolean;
  /** The special token at which it takes a text apart, to ask for what is missing there. */
  readonly splitsAt?: string;
  /** The special token that it writes before every text, in place of what the post-processor does. */
  readonly startsWith?: string;
  /** The parts of tokenizer.json that it replaces, and the fields of its `model`. */
  parts(options: ClassOptions, unknown: string | undefined): { readonly model: object } & Record<string, unknown>;
}

const BPE = {
  type: 'BPE',
  unk_token: null,
  dropout: null,
  byte_fallback: false,
  fuse_unk: false,
  ignore_merges: false,
};
const BYTES = { ...BPE, continuing_subword_prefix: '', end_of_word_suffix: '' };
const PIECES = {
  ...BPE,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  byte_fallback: true,
  fuse_unk: true,
};
const byteLevel = (addPrefixSpace: boolean, useRegex = true) => ({
  ...{ type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: useRegex },
});
const FROM_PIECES = [
  { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
  { type: 'ByteFallback' },
  { type: 'Fuse' },
];
/** How Qwen2's class splits a text; tokenization_qwen2.py. */
const QWEN2_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const END = '<|endoftext|>';

const LLAMA_TOKENS = { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' };
const llamaParts = (scheme: 'always' | 'first' | 'never', unknown: string | null, strips: boolean) => ({
  model: { ...PIECES, unk_token: unknown },
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: false },
  decoder: {
    type: 'Sequence',
    decoders: [...FROM_PIECES, ...(strips ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [])],
  },
});

const CLASSES: readonly TokenizerClass[] = [
  {
    name: 'LlamaTokenizer',
    defaults: LLAMA_TOKENS,
    plainSpecials: false,
    parts({ add_prefix_space, legacy }) {
      const prefix = add_prefix_space ?? true;
      return llamaParts(!prefix ? 'never' : legacy ? 'always' : 'first', null, prefix);
    },
  },
  {
    name: 'CodeLlamaTokenizer',
    defaults: {
      ...LLAMA_TOKENS,
      ...{ prefix_token: '▁<PRE>', middle_token: '▁<MID>', suffix_token: '▁<SUF>' },
      ...{ eot_token: '▁<EOT>', fill_token: '<FILL_ME>' },
    },
    plainSpecials: false,
    splitsAt: 'fill_token',
    startsWith: 'bos_token',
    parts: ({ add_prefix_space }, unknown) =>
      llamaParts((add_prefix_space ?? true) ? 'first' : 'never', unknown ?? null, true),
  },
  {
    name: 'GPT2Tokenizer',
    defaults: { unk_token: END, bos_token: END, eos_token: END },
    plainSpecials: false,
    parts: ({ add_prefix_space }) => ({
      model: BYTES,
      normalizer: null,
      pre_tokenizer: byteLevel(add_prefix_space ?? false),
      decoder: byteLevel(true),
    }),
  },
  {
    name: 'Qwen2Tokenizer',
    defaults: { unk_token: END, eos_token: END, pad_token: END },
    plainSpecials: true,
    parts: ({ add_prefix_space }) => ({
      model: BYTES,
      normalizer: { type: 'NFC' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: QWEN2_SPLIT }, behavior: 'Isolated', invert: false },
          byteLevel(add_prefix_space ?? false, false),
        ],
      },
      decoder: byteLevel(true),
    }),
  },
  {
    name: 'GemmaTokenizer',
    defaults: {
      ...{ unk_token: '<unk>', bos_token: '<bos>', eos_token: '<eos>' },
      pad_token: '<pad>',
      mask_token: '<mask>',
    },
    plainSpecials: false,
    parts: (_, unknown) => ({
      model: { ...PIECES, unk_token: unknown ?? null },
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
      decoder: { type: 'Sequence', decoders: FROM_PIECES },
    }),
  },
];

/** The class of a model type where tokenizer_config.json and config.json name none. */
const REGISTERED: Readonly<Record<string, string>> = {
  ...{ gpt2: 'GPT2Tokenizer', opt: 'GPT2Tokenizer', qwen2: 'Qwen2Tokenizer', qwen3: 'Qwen2Tokenizer' },
  ...{ gemma2: 'GemmaTokenizer', gemma3_text: 'GemmaTokenizer' },
};
/** Model types whose tokenizer.json counts as it stands, whatever class is named. */
const AS_IT_STANDS = ['granite', 'ministral', 'mistral', 'olmo2', 'phi3'];
/** Names for a tokenizer.json that counts as it stands. */
const GENERAL = ['TokenizersBackend', 'PythonBackend', 'PreTrainedTokenizer'];

/**
 * The class that transformers' AutoTokenizer takes; undefined where tokenizer.json counts as it stands.
 * @param named by `tokenizer_class`
 * @param isByteLevel whether tokenizer.json has a ByteLevel part
 * @throws Error that names a class which is not known here
 */
export function tokenizerClassOf(
  modelType: string | undefined,
  named: string | undefined,
  isByteLevel: () => boolean,
): TokenizerClass | undefined {
  if (modelType !== undefined && AS_IT_STANDS.includes(modelType)) return undefined;
  const registered = modelType === undefined ? undefined : REGISTERED[modelType];
  // Configs of Qwen2 are known to name wrong classes.
  const name = (modelType === 'qwen2' ? registered : (named ?? registered))?.replace(/Fast$/, '');
  if (name === undefined || GENERAL.includes(name)) return undefined;
  if (name === 'LlamaTokenizer' && isByteLevel()) return undefined;
  const known = CLASSES.find((entry) => entry.name === name);
  if (known === undefined)
    throw new Error(
      `tokenizer_class is ${name}, expected ${CLASSES.map((entry) => entry.name).join(', ')} or TokenizersBackend, with which tokenizer.json counts as it stands`,
    );
  return known;
}

/**
 * A tokenizer.json as the class has it.
 * @param unknown its unk_token
 * @throws Error where it holds no merges, which the class is made of
 */
// biome-ignore lint/suspicious/noExplicitAny: a parsed tokenizer.json, which the library checks
export function rebuilt(json: any, { name, parts }: TokenizerClass, options: ClassOptions, unknown?: string): any {
  if (!Array.isArray(json.model?.merges))
    throw new Error(
      `has no model.merges, which tokenizer_class ${name} is made of; TokenizersBackend takes the file as it stands`,
    );
  const { model, ...others } = parts(options, unknown);
  return { ...json, ...others, model: { ...json.model, ...model } };
}
