/**
 * A template's text as tokens, by the rules of Jinja's lexer with trim_blocks and lstrip_blocks: the newline behind a block or a comment
 * goes, so does white space before one at the start of a line, and all white space on the side of a `-`.
 */
import { SPACE, strip } from './text-methods.ts';
import { TemplateError } from './values.ts';

export interface Token {
  /** `begin` and `end` are of a block, {% and %}; `open` and `close` of an output, {{ and }}. */
  readonly kind:
    | 'text'
    | 'begin'
    | 'end'
    | 'open'
    | 'close'
    | 'name'
    | 'string'
    | 'integer'
    | 'float'
    | 'operator'
    | 'eof';
  readonly text: string;
  readonly line: number;
}

const BLOCK = /\{%(?<sign>[-+]?)|\{\{(?<openSign>[-+]?)|\{#(?<commentSign>[-+]?)/g;
const RAW = new RegExp(`^\\{%[-+]?[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})`);
const END_RAW = new RegExp(`(\\{%(?<sign>[-+]?)[${SPACE}]*endraw[${SPACE}]*)(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`);
const END_COMMENT = new RegExp(`(?:\\+#\\}|-#\\}[${SPACE}]*|#\\}\\n?)`);
const END_BLOCK = new RegExp(`^(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`);
const END_OUTPUT = new RegExp(`^(?:-\\}\\}[${SPACE}]*|\\}\\})`);
const BLANK = new RegExp(`^[${SPACE}]+`);
const ONLY_BLANK = new RegExp(`^[${SPACE}]+$`);

/** In the order in which they are tried. */
const LEXEMES: readonly (readonly [Token['kind'], RegExp])[] = [
  ['float', /^(\d+_)*\d+((\.(\d+_)*\d+)?e[+-]?(\d+_)*\d+|\.(\d+_)*\d+)/i],
  ['integer', /^(0b(_?[01])+|0o(_?[0-7])+|0x(_?[\da-f])+|[1-9](_?\d)*|0(_?0)*)/i],
  ['name', /^[\p{L}\p{N}_]+/u],
  ['string', /^('([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)")/s],
  ['operator', /^(\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}>=<.:|,])/],
];

/** @throws TemplateError where there is no such token */
export const tokenize = (template: string): Token[] => new Lexer(template).read();

class Lexer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  /** Whether `at` is where a line begins. */
  private isLineStart = true;

  constructor(template: string) {
    this.source = template.replace(/\r\n|\r/g, '\n').replace(/\n$/, '');
  }

  read(): Token[] {
    while (this.at < this.source.length) {
      BLOCK.lastIndex = this.at;
      const found = BLOCK.exec(this.source);
      const { sign, openSign, commentSign } = found?.groups ?? {};
      const isOutput = openSign !== undefined;
      this.readText(found?.index ?? this.source.length, sign ?? openSign ?? commentSign, isOutput || found === null);
      if (found === null) break;
      const raw = RAW.exec(this.rest);
      if (raw !== null) this.readRaw(raw[0]);
      else if (commentSign !== undefined) this.readComment(found[0]);
      else this.readTag(found[0], isOutput);
    }
    this.add('eof', '');
    return this.tokens;
  }

  private get rest(): string {
    return this.source.slice(this.at);
  }

  private take(taken: string): void {
    this.at += taken.length;
    this.line += taken.split('\n').length - 1;
    if (taken !== '') this.isLineStart = taken.endsWith('\n');
  }

  private add(kind: Token['kind'], text: string): void {
    this.tokens.push({ kind, text, line: this.line });
  }

  private fail(reason: string): TemplateError {
    return atLine(new TemplateError(reason), this.line);
  }

  /** @param sign of the tag behind */
  private readText(end: number, sign: string | undefined, keepsIndent: boolean): void {
    const data = this.source.slice(this.at, end);
    const text = leftOf(data, sign, keepsIndent, this.isLineStart);
    if (text !== '') this.add('text', text);
    this.take(data);
  }

  private readRaw(begin: string): void {
    this.take(begin);
    const end = END_RAW.exec(this.rest);
    if (end === null) throw this.fail('{% raw %} has no end');
    this.readText(this.at + end.index, end.groups!.sign, false);
    this.take(end[0]);
  }

  private readComment(begin: string): void {
    this.take(begin);
    const end = END_COMMENT.exec(this.rest);
    if (end === null) throw this.fail('a comment has no end');
    this.take(this.rest.slice(0, end.index + end[0].length));
  }

  private readTag(begin: string, isOutput: boolean): void {
    this.add(isOutput ? 'open' : 'begin', begin);
    this.take(begin);
    /** What closes those that are open: within them nothing ends the tag. */
    const brackets: string[] = [];
    for (;;) {
      const { rest } = this;
      const end = brackets.length > 0 ? null : (isOutput ? END_OUTPUT : END_BLOCK).exec(rest);
      if (end !== null) {
        this.add(isOutput ? 'close' : 'end', end[0]);
        this.take(end[0]);
        return;
      }
      const blank = BLANK.exec(rest);
      if (blank !== null) this.take(blank[0]);
      else this.readLexeme(rest, brackets);
    }
  }

  private readLexeme(rest: string, brackets: string[]): void {
    for (const [kind, pattern] of LEXEMES) {
      const text = pattern.exec(rest)?.[0];
      if (text === undefined || (kind === 'float' && this.source[this.at - 1] === '.')) continue;
      if ('([{'.includes(text)) brackets.push({ '(': ')', '[': ']', '{': '}' }[text]!);
      if (')]}'.includes(text) && brackets.pop() !== text) throw this.fail(`unexpected ${text}`);
      this.add(kind, text);
      this.take(text);
      return;
    }
    throw this.fail(rest === '' ? 'ends within a tag' : `unexpected ${rest.slice(0, 10)}`);
  }
}

/** What stays of the text before a tag. */
function leftOf(text: string, sign: string | undefined, keepsIndent: boolean, isLineStart: boolean): string {
  if (sign === '-') return strip(text, undefined, 'right');
  if (sign === '+' || keepsIndent) return text;
  const start = text.lastIndexOf('\n') + 1;
  return (start > 0 || isLineStart) && ONLY_BLANK.test(text.slice(start)) ? text.slice(0, start) : text;
}

export function atLine(error: TemplateError, line: number): TemplateError {
  error.line ??= line;
  return error;
}
