/** Rows of JSON lines to learn from, in any of the forms below. */
import { z } from 'zod';
import { parseExact } from '../model/jinja/exact-json.ts';
import { type ChatForm, conversations, instruction, isAnswered, messages } from './chat-forms.ts';
import { type Form, readForms } from './forms.ts';
import { MAX_OPTIONS, type TextExample } from './text-example.ts';

type Parsed = Omit<TextExample, 'line'>;

const text = z.string().min(1);
const one = (row: Parsed['row']): Parsed => ({ row, right: 0, classified: false });
const chat = ({ schema, unanswered, ...form }: ChatForm): Form<Parsed> => ({
  ...form,
  parse: (_, text) => one({ chat: schema.refine(isAnswered, unanswered).parse(parseExact(text)) }),
});

const Options = z
  .looseObject({ prompt: z.string(), options: z.array(text).min(2).max(MAX_OPTIONS), label: z.int().min(0) })
  .refine(({ options, label }) => label < options.length, { path: ['label'], error: 'is beyond the last option' })
  .refine(({ completion }) => (completion ?? null) === null, 'has both "options" and "completion"');
const Completion = z.looseObject({ prompt: z.string(), completion: text });
const Plain = z.looseObject({ text });

const FORMS: readonly Form<Parsed>[] = [
  chat(messages),
  chat(conversations),
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
  chat(instruction),
  { fields: ['text'], shown: '{"text"}', parse: (row) => one({ text: Plain.parse(row).text }) },
];

/** The rows of `file` in order. @throws OperatingError (usage) that names the file, the line and the field */
export const readJsonl = (file: string): Generator<TextExample> =>
  readForms(file, FORMS, 'a file of columns ends in .tsv or .csv');
