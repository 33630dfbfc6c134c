/** The text of tokens that come one by one. A character may take several of them, and a token's text may depend on the one before it. */
import type { Tokenizer } from './tokenizer.ts';

/** What the tokenizer writes for bytes that are no character, or not one yet. */
const INCOMPLETE = '\ufffd';

export class GrowingText {
  private readonly tokenizer: Pick<Tokenizer, 'decode'>;
  private readonly ids: number[];
  /** Text of ids[first … shown) has been given; those before `first` no longer count. */
  private first: number;
  private shown: number;

  /** @param prompt what the text follows */
  constructor(tokenizer: Pick<Tokenizer, 'decode'>, prompt: readonly number[]) {
    this.tokenizer = tokenizer;
    this.ids = prompt.slice(-CONTEXT);
    this.first = 0;
    this.shown = this.ids.length;
  }

  /** What `id` adds: nothing while a character is not complete. */
  async add(id: number): Promise<string> {
    this.ids.push(id);
    return this.next((text) => !text.endsWith(INCOMPLETE));
  }

  /** What is left, complete or not. */
  end(): Promise<string> {
    return this.next(() => true);
  }

  private async next(isComplete: (text: string) => boolean): Promise<string> {
    const [known, text] = await this.tokenizer.decode([
      this.ids.slice(this.first, this.shown),
      this.ids.slice(this.first),
    ]);
    if (text!.length <= known!.length || !isComplete(text!)) return '';
    this.first = this.shown;
    this.shown = this.ids.length;
    return text!.slice(known!.length);
  }
}

/** Tokens of the prompt on which the first token's text may depend. */
const CONTEXT = 8;
