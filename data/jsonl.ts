/** Rows of JSON lines: `{"prompt","completion"}`, or `{"prompt","options":[…],"label":i}` with i from 0. Other fields are ignored. */
import { z } from 'zod';
import { type Line, readLines } from '../platform/lines.ts';
import { usageError } from '../proto/operating-error.ts';
import { MAX_OPTIONS, type TextExample } from './text-example.ts';

const text = z.string().min(1);
const CompletionRow = z.looseObject({ prompt: z.string(), completion: text });
const OptionsRow = z
  .looseObject({ prompt: z.string(), options: z.array(text).min(2).max(MAX_OPTIONS), label: z.int().min(0) })
  .refine(({ options, label }) => label < options.length, { path: ['label'], error: 'is beyond the last option' });

/** The rows of `file` in order. @throws OperatingError (usage) that names the file, the line and the field */
export function* readJsonl(file: string): Generator<TextExample> {
  for (const line of readLines(file)) yield parseRow(file, line);
}

function parseRow(file: string, { number, text }: Line): TextExample {
  const fail = (reason: string, cause?: unknown): Error => usageError(`${file}:${number}: ${reason}`, { cause });
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    const hint = text.startsWith('[')
      ? 'a list is written as one row a line'
      : 'a file of columns ends in .tsv or .csv';
    throw fail(`not JSON: ${text.slice(0, 80)}; ${hint}`, error);
  }
  const has = (field: string): boolean => typeof row === 'object' && row !== null && Object.hasOwn(row, field);
  if (has('messages')) throw fail('chat rows ("messages") are not supported; write {"prompt", "completion"}');
  if (has('options') && has('completion')) throw fail('has both "options" and "completion"; expected one of them');
  if (has('options')) {
    const parsed = OptionsRow.safeParse(row);
    if (!parsed.success) throw fail(explain(parsed.error, row));
    const { prompt, options, label } = parsed.data;
    return { line: number, prompt, options, right: label, classified: true };
  }
  const parsed = CompletionRow.safeParse(row);
  if (!parsed.success) throw fail(explain(parsed.error, row));
  const { prompt, completion } = parsed.data;
  return { line: number, prompt, options: [completion], right: 0, classified: false };
}

const explain = (error: z.ZodError, row: unknown): string =>
  `${error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ')}; ` +
  `expected {"prompt", "completion"} or {"prompt", "options", "label"}, got ${JSON.stringify(row)?.slice(0, 120)}`;
