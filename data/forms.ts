/** Rows of JSON lines, each in one of several forms. Fields that no form names are ignored. */
import { z } from 'zod';
import { type Line, readLines } from '../platform/lines.ts';
import { parseJson } from '../platform/read-json-file.ts';
import { usageError } from '../proto/operating-error.ts';

/** A form of rows: the fields that a row of it has, and what it says. */
export interface Form<Parsed> {
  readonly fields: readonly string[];
  readonly shown: string;
  /**
   * @param text of the row: a chat template tells apart what is alike in `row`
   * @throws as a zod schema
   */
  parse(row: unknown, text: string): Parsed;
}

/**
 * The rows of `file` in order, each by the first of `forms` whose fields it has.
 * @param hint what to do where a line is not JSON
 * @throws OperatingError (usage) that names the file, the line and the field
 */
export function* readForms<Parsed>(
  file: string,
  forms: readonly Form<Parsed>[],
  hint: string,
): Generator<Parsed & { readonly line: number }> {
  for (const line of readLines(file)) yield { line: line.number, ...parseRow(file, line, forms, hint) };
}

function parseRow<Parsed>(file: string, { number, text }: Line, forms: readonly Form<Parsed>[], hint: string): Parsed {
  const fail = (reason: string, cause?: unknown): Error => usageError(`${file}:${number}: ${reason}`, { cause });
  let row: unknown;
  try {
    row = parseJson(text);
  } catch (error) {
    const isList = text.startsWith('[');
    const advice = isList ? 'a list is written as one row a line' : hint;
    throw fail(`not JSON: ${text.slice(0, 80)} (${(error as Error).message}); ${advice}`, error);
  }
  // A column that a row has nothing in is null.
  const fields = new Map(Object.entries(row ?? {}).filter(([, value]) => value !== null));
  const has = (field: string): boolean => fields.has(field);
  const got = JSON.stringify(row)?.slice(0, 120);
  const form = forms.find(({ fields }) => fields.some(has));
  if (form === undefined) throw fail(`expected one of ${forms.map(({ shown }) => shown).join(', ')}; got ${got}`);
  try {
    return form.parse(row, text);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const faults = error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ');
    throw fail(`${faults}; expected ${form.shown}, got ${got}`, error);
  }
}
