import type { TextRow } from '../model/tokenizer/tokenizer.ts';

/** One row of a data file as text, whatever the file's form. */
export interface TextExample {
  readonly line: number;
  /** Options to choose from, the only one where the row states a completion, none of them empty; plain text; or a chat. */
  readonly row: TextRow;
  /** Index of the right option; 0 where there is none. */
  readonly right: number;
  /** The row states options to choose from. */
  readonly classified: boolean;
}

/** At most so many options of a row. */
export const MAX_OPTIONS = 1024;
