/** The tokenizers whose ids test/golden/tokenizers/nasty-lines.json holds: texts of tokenizer.json, by name. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { goldenModels, root } from './onebyte.ts';
import { TOKENIZER_VARIANTS } from './tokenizer-variants.ts';

/** Shapes of families on small vocabularies, the fixtures' (each once), and the demo's. */
export function tokenizerKinds(): Record<string, string> {
  const fixtures = goldenModels().map((name) => `test/golden/models/${name}`);
  const kinds = new Map(Object.entries(TOKENIZER_VARIANTS).map(([name, json]) => [JSON.stringify(json), name]));
  for (const directory of ['examples/tiny-reviews/model', ...fixtures]) {
    const text = readFileSync(join(root, directory, 'tokenizer.json'), 'utf8');
    if (!kinds.has(text)) kinds.set(text, directory);
  }
  return Object.fromEntries(Array.from(kinds, ([text, name]) => [name, text]));
}
