/** The tokens of a template, read from the first to the last. */
import { atLine, type Token, tokenize } from './lexer.ts';
import { TemplateError } from './values.ts';

export class Tokens {
  private readonly tokens: readonly Token[];
  private at = 0;

  constructor(template: string) {
    this.tokens = tokenize(template);
  }

  get current(): Token {
    return this.tokens[this.at]!;
  }

  get ahead(): Token {
    return this.tokens[this.at + 1] ?? this.current;
  }

  next(): Token {
    const { current } = this;
    if (current.kind !== 'eof') this.at++;
    return current;
  }

  /** Whether the current token is of `kind` and, where they are given, one of `texts`. */
  is(kind: Token['kind'], ...texts: readonly string[]): boolean {
    return this.current.kind === kind && (texts.length === 0 || texts.includes(this.current.text));
  }

  isOperator(...texts: readonly string[]): boolean {
    return this.is('operator', ...texts);
  }

  /** Whether it was there. */
  skip(kind: Token['kind'], text: string): boolean {
    const is = this.is(kind, text);
    if (is) this.at++;
    return is;
  }

  expect(kind: Token['kind'], text?: string): Token {
    if (!this.is(kind, ...(text === undefined ? [] : [text])))
      throw this.fail(`expected ${text ?? kind}, got ${this.shown()}`);
    return this.next();
  }

  fail(reason: string): TemplateError {
    return atLine(new TemplateError(reason), this.current.line);
  }

  shown(): string {
    const { kind, text } = this.current;
    return kind === 'eof' ? 'the end of the template' : text.trim().slice(0, 40);
  }
}
