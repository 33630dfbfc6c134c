/** What a person is told of a run file that is none: where, what was got, and for a wrong key those that there are. */
import { z } from 'zod';

interface Schema {
  readonly properties?: { readonly [key: string]: Schema };
}

/** The faults of a value that `schema` refused, one a line. */
export function explain(error: z.ZodError, schema: z.ZodType): string {
  const root = z.toJSONSchema(schema, { io: 'input' }) as Schema;
  return error.issues
    .map((issue) =>
      issue.code === 'unrecognized_keys' ? unknownKeys(issue, root) : z.prettifyError({ issues: [issue] }),
    )
    .join('\n');
}

function unknownKeys({ keys, path }: { keys: readonly string[]; path: readonly PropertyKey[] }, root: Schema): string {
  const section = path.reduce<Schema | undefined>((at, key) => at?.properties?.[String(key)], root);
  const allowed = Object.keys(section?.properties ?? {});
  const where = path.length === 0 ? 'at the top' : `in ${path.join('.')}`;
  const said = keys.map((key) => {
    const near = nearest(key, allowed);
    return `✖ unknown key ${key} ${where}${near === undefined ? '' : `: did you mean ${near}?`}`;
  });
  return [...said, `  keys ${where}: ${allowed.join(', ')}`].join('\n');
}

/** The word of `words` that is spelt most like `word`, letters' case and underscores apart; undefined where none is alike. */
function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[_-]/g, '');
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
