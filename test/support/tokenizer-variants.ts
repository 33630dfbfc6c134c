/** tokenizer.json in the shapes that model families ship, on a small vocabulary: made from a fixture's, or of characters and bytes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { goldenFiles } from './onebyte.ts';

type Json = Record<string, unknown>;
const llama = JSON.parse(readFileSync(join(goldenFiles, 'models/llama/tokenizer.json'), 'utf8'));

const SPLIT = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const split = (pattern: Json, behavior: string): Json => ({ type: 'Split', pattern, behavior, invert: false });
const byteLevel = (change: Json = {}): Json => ({ ...llama.pre_tokenizer, ...change });
const sequence = (...pretokenizers: Json[]): Json => ({ type: 'Sequence', pretokenizers });
const added = (id: number, content: string, change: Json = {}): Json => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ...change,
});

/** The fixture with merges of white space, which show where a text is split, and without bytes 7 and 27. */
function spaced(): { vocab: Record<string, number>; merges: string[][] } {
  const vocab: Record<string, number> = { ...llama.model.vocab };
  const merges = [...llama.model.merges];
  // biome-ignore format: a table
  const pairs = [['Ġ', 'Ġ'], ['Ċ', 'Ċ'], ['č', 'Ċ'], ['Ġ', 'Ċ'], ['Ċ', 'Ġ'], ['Ġ', 'Â'], ['Ġ', 'á'], ['Â', 'ħ'], ['ĠĠ', 'ĠĠ'], ['1', '2']] as const;
  for (const [a, b] of pairs) {
    if (vocab[a + b] !== undefined) continue;
    vocab[a + b] = Math.max(...Object.values(vocab)) + 1;
    merges.push([a, b]);
  }
  delete vocab.ć;
  delete vocab.ě;
  return { vocab, merges };
}

/** A byte-fallback vocabulary as sentencepiece models have it. */
function pieces(): Json {
  const tokens = ['<unk>', '<s>', '</s>'];
  for (let byte = 0; byte < 256; byte++) tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  for (let code = 33; code < 127; code++) tokens.push(String.fromCharCode(code));
  tokens.push('▁', 'é', 'п', 'р', '日', '👍');
  // biome-ignore format: a table
  const merges = [['▁', '▁'], ['▁', 't'], ['▁t', 'h'], ['▁th', 'e'], ['o', 'n'], ['i', 'n'], ['▁▁', '▁▁'], ['п', 'р'], ['a', 'a'], ['aa', 'aa'], ['▁', '1'], ['t', 'h']] as const;
  for (const [a, b] of merges) tokens.push(a + b);
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return { ...llama.model, vocab, merges, unk_token: '<unk>', fuse_unk: true, byte_fallback: true };
}

const template = (before: string[], after: string[]): Json => {
  const special = (id: string): Json => ({ SpecialToken: { id, type_id: 0 } });
  const single = [...before.map(special), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(special)];
  const ids = [...before, ...after].map((id) => [id, { id, ids: [tokenId(id)], tokens: [id] }]);
  return {
    type: 'TemplateProcessing',
    single,
    pair: llama.post_processor.pair,
    special_tokens: { ...llama.post_processor.special_tokens, ...Object.fromEntries(ids) },
  };
};
const tokenId = (token: string): number => llama.added_tokens.find((t: { content: string }) => t.content === token).id;

const model = { ...llama.model, ...spaced() };
const sentencePiece = {
  ...llama,
  model: pieces(),
  added_tokens: [added(0, '<unk>'), added(1, '<s>'), added(2, '</s>', { rstrip: true, special: false })],
  post_processor: null,
  pre_tokenizer: null,
};

/** Whole words, and their parts as WordPiece marks them. */
function words(): Record<string, number> {
  const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
  // biome-ignore format: a table
  const known = ['[UNK]', '[CLS]', '[SEP]', 'the', 'film', 'was', 'quiet', 'don', 'strasse', '##sse', 'istanbul', '日', '本', '語', '👍', '.', "'", '1', '##2'];
  const tokens = [...known, ...letters, ...letters.map((letter) => `##${letter}`), ...'0123456789', ...'привет', 'α'];
  return Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
}

/** By the family whose shape it is. */
export const TOKENIZER_VARIANTS: Record<string, Json> = {
  'gpt2, merges of white space': { ...llama, model },
  'gpt2, a space before the text': { ...llama, model, pre_tokenizer: byteLevel({ add_prefix_space: true }) },
  'bos and eos around the text': { ...llama, model, post_processor: template(['<bos>'], ['<eos>']) },
  'llama 3': {
    ...llama,
    model: { ...model, ignore_merges: true },
    pre_tokenizer: sequence(split({ Regex: SPLIT('\\p{N}{1,3}') }, 'Isolated'), byteLevel({ use_regex: false })),
  },
  smollm2: { ...llama, model, pre_tokenizer: sequence({ type: 'Digits', individual_digits: true }, byteLevel()) },
  qwen2: {
    ...llama,
    model,
    normalizer: { type: 'NFC' },
    pre_tokenizer: sequence(split({ Regex: SPLIT('\\p{N}') }, 'Isolated'), byteLevel({ use_regex: false })),
  },
  'llama 2, phi3': {
    ...sentencePiece,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
  },
  mistral: {
    ...sentencePiece,
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false },
  },
  gemma: {
    ...sentencePiece,
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: split({ String: ' ' }, 'MergedWithPrevious'),
  },
  bert: {
    ...llama,
    model: {
      type: 'WordPiece',
      vocab: words(),
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 20,
    },
    added_tokens: [added(0, '[UNK]'), added(1, '[CLS]'), added(2, '[SEP]')],
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1] },
  },
  'whole words': {
    ...llama,
    model: { type: 'WordLevel', vocab: words(), unk_token: '[UNK]' },
    added_tokens: [added(0, '[UNK]'), added(3, 'the', { single_word: true, special: false })],
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Lowercase' }] },
    pre_tokenizer: sequence({ type: 'Whitespace' }, { type: 'Digits', individual_digits: true }),
    post_processor: null,
  },
  't5, with byte fallback': {
    ...sentencePiece,
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: Object.keys(pieces().vocab as object).map((piece, i) => [piece, -1 - ((i * 0.37) % 7)]),
      byte_fallback: true,
    },
    normalizer: {
      type: 'Sequence',
      normalizers: [{ type: 'Nmt' }, { type: 'NFKC' }, { type: 'Strip', strip_left: true, strip_right: true }],
    },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    post_processor: template([], ['<eos>']),
  },
};
