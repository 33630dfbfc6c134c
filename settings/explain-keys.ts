/** What a person is told of a run file that is none: where, what was got, and for a wrong key those that there are. */
import { z } from 'zod';

interface Schema {
  readonly properties?: { readonly [key: string]: Schema };
}

/** What PEFT and transformers call a key of ours. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    r: 'adapter.rank',
    lora_alpha: 'adapter.alpha',
    target_modules: 'adapter.targets',
    use_rslora: 'adapter.rslora',
    lr: 'learning.learningRate',
    per_device_train_batch_size: 'learning.rows',
    max_steps: 'rounds',
    output_dir: 'out',
  }),
);

/** Characters of a wrong value that are shown. */
const MOST_SHOWN = 80;

/** Parses `value`. @returns what it is, or the faults for which `schema` refuses it, one a line */
export function parseKeys<T>(schema: z.ZodType<T>, value: unknown): { readonly data: T } | { readonly faults: string } {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return { data: parsed.data };
  const root = z.toJSONSchema(schema, { io: 'input' }) as Schema;
  const faults = parsed.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys' ? unknownKeys(issue, root) : wrongValue(issue, root),
  );
  return { faults: faults.join('\n') };
}

const sectionAt = (root: Schema, path: readonly PropertyKey[]): { readonly [key: string]: Schema } =>
  path.reduce<Schema | undefined>((at, key) => at?.properties?.[String(key)], root)?.properties ?? {};

function unknownKeys({ keys, path }: { keys: readonly string[]; path: readonly PropertyKey[] }, root: Schema): string {
  const allowed = Object.keys(sectionAt(root, path));
  const where = path.length === 0 ? 'at the top' : `in ${path.join('.')}`;
  const said = keys.map((key) => {
    const near = OTHER_NAMES.get(key) ?? elsewhere(key, root) ?? nearest(key, allowed);
    const local = near?.startsWith(`${path.join('.')}.`) ? near.slice(path.join('.').length + 1) : near;
    return `✖ unknown key ${key} ${where}${local === undefined ? '' : `: did you mean ${local}?`}`;
  });
  return [...said, `  keys ${where}: ${allowed.join(', ')}`].join('\n');
}

/** A fault of a key that there is: missing, or with a value that is shown where it is short. */
function wrongValue(issue: z.core.$ZodIssue, root: Schema): string {
  const { path, input } = issue;
  const told =
    issue.code === 'invalid_union'
      ? `Invalid input: ${issue.errors.map(([first]) => first?.message.replace(/^Invalid input: /, '')).join(' or ')}`
      : issue.message;
  if (input === undefined && issue.code === 'invalid_type')
    return `✖ ${path.join('.')} is missing: ${told.replace(/^Invalid input: |, received undefined$/g, '')}`;
  const value = JSON.stringify(input);
  const isShown = typeof input !== 'object' && value.length <= MOST_SHOWN && issue.code !== 'custom';
  // `worker: 2`: a section's name in place of a key's.
  const isSection = issue.code === 'invalid_type' && issue.expected === 'object';
  const beside = isSection ? Object.entries(sectionAt(root, path.slice(0, -1))) : [];
  const near = nearest(
    String(path.at(-1)),
    beside.flatMap(([key, { properties }]) => (properties ? [] : [key])),
  );
  const message = `${told}${isShown ? `, got ${value}` : ''}${near === undefined ? '' : `; did you mean ${near}?`}`;
  return z.prettifyError({ issues: [{ ...issue, message }] });
}

/** Letters' case and underscores apart. */
const plain = (text: string): string => text.toLowerCase().replaceAll(/[_-]/g, '');

/** The key of that name in whatever section has it first, with its path. */
function elsewhere(word: string, root: Schema): string | undefined {
  const all = Object.entries(root.properties ?? {}).flatMap(([name, { properties }]) => [
    name,
    ...Object.keys(properties ?? {}).map((key) => `${name}.${key}`),
  ]);
  return all.find((path) => plain(path.split('.').at(-1)!) === plain(word));
}

/** The word of `words` that is spelt most like `word`; undefined where none is alike. */
function nearest(word: string, words: readonly string[]): string | undefined {
  const [best] = words
    .map((other) => ({ other, edits: edits(plain(word), plain(other)) }))
    .sort((a, b) => a.edits - b.edits);
  return best && best.edits <= Math.max(1, word.length / 3) ? best.other : undefined;
}

/** Letters to insert, delete or replace between two short words (Levenshtein 1966). */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length]!;
}
