/** Rows of JSON lines, in any of the forms below. Fields that no form names are ignored. */
import { z } from 'zod';
import type { Chat } from '../model/chat-template.ts';
import { parseExact } from '../model/jinja/exact-json.ts';
import { type Line, readLines } from '../platform/lines.ts';
import { usageError } from '../proto/operating-error.ts';
import { conversation, instruction, messages } from './chat-forms.ts';
import { MAX_OPTIONS, type TextExample } from './text-example.ts';

type Parsed = Omit<TextExample, 'line'>;

/** A form of rows: the fields that a row of it has, and what it says. */
interface Form {
  readonly fields: readonly string[];
  readonly shown: string;
  /**
   * @param text of the row: a chat template tells apart what is alike in `row`
   * @throws as a zod schema
   */
  parse(row: unknown, text: string): Parsed;
}

const text = z.string().min(1);
const one = (row: Parsed['row']): Parsed => ({ row, right: 0, classified: false });
const chat =
  (schema: z.ZodType<Chat>) =>
  (_: unknown, text: string): Parsed =>
    one({ chat: schema.parse(parseExact(text)) });

const Options = z
  .looseObject({ prompt: z.string(), options: z.array(text).min(2).max(MAX_OPTIONS), label: z.int().min(0) })
  .refine(({ options, label }) => label < options.length, { path: ['label'], error: 'is beyond the last option' });
const Completion = z.looseObject({ prompt: z.string(), completion: text });
const Plain = z.looseObject({ text });

/** A row is of the first form whose fields it has. */
const FORMS: readonly Form[] = [
  { fields: ['messages'], shown: '{"messages": [{"role", "content"}, …]}', parse: chat(messages) },
  { fields: ['conversations'], shown: '{"conversations": [{"from", "value"}, …]}', parse: chat(conversation) },
  {
    fields: ['options'],
    shown: '{"prompt", "options", "label"}',
    parse: (row) => {
      const { prompt, options, label } = Options.parse(row);
      return { row: { prompt, options }, right: label, classified: true };
    },
  },
  {
    fields: ['prompt', 'completion'],
    shown: '{"prompt", "completion"}',
    parse: (row) => {
      const { prompt, completion } = Completion.parse(row);
      return one({ prompt, options: [completion] });
    },
  },
  { fields: ['instruction', 'output'], shown: '{"instruction", "input", "output"}', parse: chat(instruction) },
  { fields: ['text'], shown: '{"text"}', parse: (row) => one({ text: Plain.parse(row).text }) },
];

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
  if (has('options') && has('completion')) throw fail('has both "options" and "completion"; expected one of them');
  const got = JSON.stringify(row)?.slice(0, 120);
  const form = FORMS.find(({ fields }) => fields.some(has));
  if (form === undefined) throw fail(`expected one of ${FORMS.map(({ shown }) => shown).join(', ')}; got ${got}`);
  try {
    return { line: number, ...form.parse(row, text) };
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const faults = error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ');
    throw fail(`${faults}; expected ${form.shown}, got ${got}`, error);
  }
}
