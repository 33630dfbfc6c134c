/** Lines that tokenizers disagree about: drawn from a seed, so that a failure can be seen again. */
import seedrandom from 'seedrandom';

// biome-ignore format: a table
const WORDS = [
  'the film was', 'quiet', "don't", "I'LL", "we've", "o'clock's", 'naïve', 'STRASSE', 'straße', 'ﬁ', 'Ǆ', 'ſ', 'İstanbul', 'ı',
  'привет', 'Ελληνικά', 'ΐ', 'עברית', 'العربية', '١٢٣', 'हिन्दी', 'ไทย', '한국어', '각', '日本語', 'がぎぐ', '𠮷野家', '𝔘𝔫𝔦', '𞤀𞤣',
  '3.14159', '1,000,000', '0x1F', '１２３', '½', '²³', 'Ⅷ', '①', '٪', '1e-9', '2026-01-01T00:00:00Z',
  '👍', '👩‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇩🇪🇫🇷', '1️⃣', '☃️', '❤', '🫠',
  'e\u0301', '\u00e9', 'A\u030a', '\u00c5', '\u212b', 'q\u0307\u0323', 'q\u0323\u0307', '\u1e9b\u0323', '\u0344', '\ufb2c',
  '\u200b', '\u200c', '\u200d', '\u200e', '\u202e', '\u2060', '\ufeff', '\u00ad', '\ufffd', '\uffff', '\u{10ffff}', '\ue000',
  '\0', '\x01', '\x07', '\x1b[31m', '\x7f', '\x80', '\x85', '\x9f', '\x1c', '\x1f', ' \x07\u00ad', ' \x1b\u17d2', '\v', '\f',
  '\u00a0', '\u1680', '\u180e', '\u2003', '\u2028', '\u2029', '\u202f', '\u205f', '\u3000',
  '<s>', '</s>', '<bos>', '<eos>', '<pad>', '<|im_start|>', '<|im_end|>', '<|endoftext|>', '<bos', '<<bos>>', '< bos >', '<BOS>',
  '...', '!!!???', '--', '—', '“”', "''", '`', '\\', '\\n', '/*', '&amp;', '$', '€', '@user', '#tag', '{}', '[]', '(', '~^|',
  'http://example.org/a?b=c&d=%20', 'a_b', 'a-b', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'aaaaaaaaaaaaaaaaaaaaaaaa',
  '\ud800', '\udc00', '\udc00\ud800', 'x\ud83d',
];
const SPACES = [
  '',
  ' ',
  ' ',
  ' ',
  '  ',
  '   ',
  '\t',
  '\n',
  '\r\n',
  '\n\n',
  ' \n',
  '\n ',
  '\t \t',
  ' '.repeat(40),
  '\n'.repeat(9),
];

/** `count` lines, the same for the same `seed`; surrogates may stand alone in them. */
export function nastyLines(seed: string, count: number): string[] {
  const random = seedrandom(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const pick = (list: readonly string[]): string => list[below(list.length)] ?? '';
  // Below the planes where Unicode still adds compositions, about which Node and Rust differ by age.
  const character = (): string => String.fromCodePoint(below([0x250, 0x250, 0x3100, 0x10000][below(4)] ?? 0));
  return Array.from({ length: count }, () => {
    let line = '';
    for (let pieces = below(12); pieces >= 0; pieces--) {
      line += random() < 0.25 ? Array.from({ length: 1 + below(6) }, character).join('') : pick(WORDS);
      line += random() < 0.05 ? pick(SPACES).repeat(1 + below(300)) : pick(SPACES);
    }
    return random() < 0.1 ? line.normalize('NFD') : line;
  });
}
