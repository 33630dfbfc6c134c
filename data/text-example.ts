/** One row of a data file as text, whatever the file's form. */
export interface TextExample {
  readonly line: number;
  readonly prompt: string;
  /** The completions to choose from; the only one where the row states a completion. None is empty. */
  readonly options: readonly string[];
  /** Index of the right one. */
  readonly right: number;
  /** The row states options to choose from. */
  readonly classified: boolean;
}

/** At most so many options of a row. */
export const MAX_OPTIONS = 1024;
