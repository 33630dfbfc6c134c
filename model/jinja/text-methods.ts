/** The methods of Python's str that are computed here. Positions and lengths are in code points. */
import { str } from './text.ts';
import {
  codePoints,
  isNumber,
  iterate,
  TemplateError,
  Tuple,
  text,
  truthy,
  typeName,
  type Value,
  whole,
} from './values.ts';

/** What is white space to Python; JavaScript's differs in seven characters. */
export const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);
const WORD = new RegExp(`[^${SPACE}]+`, 'g');
const LINE_ENDS = '\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029';
const LINE = new RegExp(`\\r\\n|[${LINE_ENDS}]`);

export interface Method {
  /** Of its arguments; one that begins with `/` has no name. */
  readonly names: readonly string[];
  readonly required: number;
  readonly call: (self: string, args: readonly (Value | undefined)[]) => Value;
}

/** Without characters at the ends: white space, or those of `characters`. */
export function strip(value: string, characters?: Value, ends: 'left' | 'right' | 'both' = 'both'): string {
  if (characters === undefined || characters === null) {
    const from = ends === 'right' ? value : value.replace(LEADING, '');
    return ends === 'left' ? from : withoutEnd(from);
  }
  const set = new Set(codePoints(text('what is stripped', characters)));
  const points = codePoints(value);
  let [from, to] = [0, points.length];
  if (ends !== 'right') while (from < to && set.has(points[from]!)) from++;
  if (ends !== 'left') while (to > from && set.has(points[to - 1]!)) to--;
  return points.slice(from, to).join('');
}

/** A regular expression that looks for the end alone takes a time in the square of the white space within. */
function withoutEnd(value: string): string {
  let end = value.length;
  while (end > 0 && TRAILING.test(value[end - 1]!)) end--;
  return value.slice(0, end);
}

const isSpace = (value: string): boolean => value !== '' && strip(value) === '';

export function splitLines(value: string, keepEnds = false): string[] {
  const lines: string[] = [];
  let rest = value;
  while (rest !== '') {
    const end = LINE.exec(rest);
    if (end === null) return [...lines, rest];
    lines.push(rest.slice(0, end.index) + (keepEnds ? end[0] : ''));
    rest = rest.slice(end.index + end[0].length);
  }
  return lines;
}

/** Left of `count` replacements are all where it is below 0. */
export function replace(value: string, old: string, by: string, count: number): string {
  const parts = old === '' ? ['', ...codePoints(value), ''] : value.split(old);
  const times = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  return (
    parts.slice(0, times + 1).join(by) +
    parts
      .slice(times + 1)
      .map((part) => old + part)
      .join('')
  );
}

/** A capital where Python writes a title's: of a few letters that is another than the upper case. */
function titled(character: string): string {
  const upper = character.toUpperCase();
  if (codePoints(upper).length > 1 || /[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff]/.test(character))
    throw new TemplateError(`the title case of ${character} is not computed here`);
  return upper;
}

export function capitalize(value: string): string {
  const [first] = codePoints(value);
  return first === undefined ? '' : titled(first) + value.toLowerCase().slice(first.toLowerCase().length);
}

const title = (value: string): string =>
  value.replace(/[\p{Lowercase}\p{Uppercase}\p{Lt}]+/gu, (word) => capitalize(word));

/** Whether all letters with a case have this one, and there is one. */
export function isCased(value: string, wanted: 'lower' | 'upper'): boolean {
  const [is, other] =
    wanted === 'lower' ? [/\p{Lowercase}/u, /[\p{Uppercase}\p{Lt}]/u] : [/\p{Uppercase}/u, /[\p{Lowercase}\p{Lt}]/u];
  return is.test(value) && !other.test(value);
}

function split(value: string, separator: Value | undefined, limit: Value | undefined): string[] {
  const most = limit === undefined ? -1 : whole('maxsplit', limit);
  if (separator === undefined || separator === null) {
    const words: string[] = [];
    for (const { 0: word, index } of value.matchAll(WORD)) {
      if (most >= 0 && words.length === most) return [...words, value.slice(index)];
      words.push(word);
    }
    return words;
  }
  const by = separatorOf(separator);
  const parts = value.split(by);
  return most < 0 || parts.length <= most ? parts : [...parts.slice(0, most), parts.slice(most).join(by)];
}

function splitRight(value: string, separator: Value | undefined, limit: Value | undefined): string[] {
  const most = limit === undefined ? -1 : whole('maxsplit', limit);
  if (most < 0) return split(value, separator, undefined);
  if (separator === undefined || separator === null)
    throw new TemplateError('rsplit with a maxsplit and no separator is not computed here');
  const by = separatorOf(separator);
  const parts = value.split(by);
  if (parts.length <= most) return parts;
  return [parts.slice(0, parts.length - most).join(by), ...parts.slice(parts.length - most)];
}

function separatorOf(value: Value): string {
  const by = text('the separator', value);
  if (by === '') throw new TemplateError('the separator is empty');
  return by;
}

function partition(value: string, separator: Value, last: boolean): Tuple {
  const by = separatorOf(separator);
  const at = last ? value.lastIndexOf(by) : value.indexOf(by);
  if (at < 0) return new Tuple(last ? ['', '', value] : [value, '', '']);
  return new Tuple([value.slice(0, at), by, value.slice(at + by.length)]);
}

function find(value: string, part: Value, last = false): bigint {
  const looked = text('what is looked for', part);
  const at = last ? value.lastIndexOf(looked) : value.indexOf(looked);
  return BigInt(at < 0 ? -1 : codePoints(value.slice(0, at)).length);
}

function found(at: bigint): bigint {
  if (at < 0n) throw new TemplateError('a text does not hold what is looked for');
  return at;
}

const anyOf = (affix: Value, is: (affix: string) => boolean): boolean =>
  (affix instanceof Tuple ? affix.items : [affix]).some((one) => is(text('what is looked for', one)));

/** With `filler` on the left or right until it has `width` code points. */
function filled(value: string, width: Value, filler: Value | undefined, side: 'left' | 'right'): string {
  const by = filler === undefined ? ' ' : text('the filling', filler);
  if (codePoints(by).length !== 1) throw new TemplateError('the filling is not one character');
  const more = by.repeat(Math.max(0, Math.min(whole('the width', width), 2 ** 24) - codePoints(value).length));
  return side === 'left' ? more + value : value + more;
}

function zeroFilled(value: string, width: Value): string {
  const sign = /^[+-]/.exec(value)?.[0] ?? '';
  const digits = whole('the width', width) - sign.length;
  return sign + filled(value.slice(sign.length), BigInt(digits), '0', 'left');
}

/** Python's separator.join(values). */
function joined(separator: string, values: Value): string {
  const parts = iterate(values);
  const other = parts.find((part) => typeof part !== 'string');
  if (other !== undefined) throw new TemplateError(`join is given ${typeName(other)}, expected texts`);
  return parts.map(str).join(separator);
}

const method = (names: readonly string[], required: number, call: Method['call']): Method => ({
  names,
  required,
  call,
});
const plain = (call: (self: string) => Value): Method => method([], 0, call);

export const TEXT_METHODS: Readonly<Record<string, Method>> = {
  capitalize: plain(capitalize),
  count: method(['/what'], 1, (self, [part]) => {
    const parts = text('what is counted', part!);
    return BigInt(parts === '' ? codePoints(self).length + 1 : self.split(parts).length - 1);
  }),
  endswith: method(['/suffix'], 1, (self, [suffix]) => anyOf(suffix!, (one) => self.endsWith(one))),
  find: method(['/what'], 1, (self, [part]) => find(self, part!)),
  index: method(['/what'], 1, (self, [part]) => found(find(self, part!))),
  isalpha: plain((self) => /^\p{L}+$/u.test(self)),
  isascii: plain((self) => /^[\0-\x7f]*$/.test(self)),
  isdigit: plain((self) => /^\d+$/.test(onlyAscii(self))),
  islower: plain((self) => isCased(self, 'lower')),
  isspace: plain(isSpace),
  isupper: plain((self) => isCased(self, 'upper')),
  join: method(['/values'], 1, (self, [values]) => joined(self, values!)),
  ljust: method(['/width', '/fill'], 1, (self, [width, fill]) => filled(self, width!, fill, 'right')),
  lower: plain((self) => self.toLowerCase()),
  lstrip: method(['/characters'], 0, (self, [characters]) => strip(self, characters, 'left')),
  partition: method(['/separator'], 1, (self, [by]) => partition(self, by!, false)),
  removeprefix: method(['/prefix'], 1, (self, [prefix]) => {
    const start = text('the prefix', prefix!);
    return self.startsWith(start) ? self.slice(start.length) : self;
  }),
  removesuffix: method(['/suffix'], 1, (self, [suffix]) => {
    const end = text('the suffix', suffix!);
    return end !== '' && self.endsWith(end) ? self.slice(0, -end.length) : self;
  }),
  replace: method(['/old', '/new', '/count'], 2, (self, [old, by, count]) =>
    replace(
      self,
      text('what is replaced', old!),
      text('the replacement', by!),
      count === undefined ? -1 : whole('count', count),
    ),
  ),
  rfind: method(['/what'], 1, (self, [part]) => find(self, part!, true)),
  rindex: method(['/what'], 1, (self, [part]) => found(find(self, part!, true))),
  rjust: method(['/width', '/fill'], 1, (self, [width, fill]) => filled(self, width!, fill, 'left')),
  rpartition: method(['/separator'], 1, (self, [by]) => partition(self, by!, true)),
  rsplit: method(['sep', 'maxsplit'], 0, (self, [by, limit]) => splitRight(self, by, limit)),
  rstrip: method(['/characters'], 0, (self, [characters]) => strip(self, characters, 'right')),
  split: method(['sep', 'maxsplit'], 0, (self, [by, limit]) => split(self, by, limit)),
  splitlines: method(['keepends'], 0, (self, [keep]) => splitLines(self, keep !== undefined && truthy(keep))),
  startswith: method(['/prefix'], 1, (self, [prefix]) => anyOf(prefix!, (one) => self.startsWith(one))),
  strip: method(['/characters'], 0, (self, [characters]) => strip(self, characters)),
  title: plain(title),
  upper: plain((self) => self.toUpperCase()),
  zfill: method(['/width'], 1, (self, [width]) => zeroFilled(self, width!)),
};

/** A number's text as JavaScript reads it. */
const ascii = (value: string): string => {
  const digits = strip(value).replace(/(?<=\d)_(?=\d)/g, '');
  return /\p{Nd}/u.test(digits) ? onlyAscii(digits) : digits;
};

function onlyAscii(value: string): string {
  if (/[^\0-\x7f]/.test(value)) throw new TemplateError('digits of other scripts are not computed here');
  return value;
}

/** Python's int() of a text; undefined where it refuses. */
export function intOf(value: string): bigint | undefined {
  const digits = ascii(value);
  return /^[+-]?[0-9]{1,4300}$/.test(digits)
    ? digits.startsWith('-')
      ? -BigInt(digits.slice(1))
      : BigInt(digits.replace('+', ''))
    : undefined;
}

/** Python's float() of a text or a number; undefined where it refuses. */
export function floatOf(value: Value): number | undefined {
  if (isNumber(value)) return Number(value);
  if (typeof value !== 'string') return undefined;
  const digits = ascii(value);
  if (/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(digits)) return Number(digits);
  if (/^[+-]?(inf|infinity|nan)$/i.test(digits)) throw new TemplateError(`the float of ${digits} is not computed here`);
  return undefined;
}
