/** Writes the reference run file, every key with its meaning and default, from the schema. Argument: the file to write. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { NEW_ADAPTER, RunFile } from '../settings/run-file.ts';

interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: { readonly [key: string]: Schema };
  readonly enum?: readonly unknown[];
}

/** Keys without a default are shown as comments with an example. */
const EXAMPLES: { readonly [key: string]: string } = {
  model: './model',
  'data.train': 'train.jsonl',
  'data.dev': 'dev.jsonl',
  'data.test': 'test.jsonl',
  'data.shards': '4',
  'data.template': '"{sentence} It was"',
  'data.verbalizers': '[" terrible", " great"]',
  ...Object.fromEntries(Object.entries(NEW_ADAPTER).map(([key, value]) => [`adapter.${key}`, String(value)])),
  'adapter.from': 'adapters/earlier',
  'learning.decayRounds': '100',
  'learning.directionStripes': '16',
  'trainer.stopAt': '{ accuracy: 0.95 }',
  'trainer.patience': '5',
  'trainer.devRows': '500',
  'worker.estimator': 'backward',
  'worker.directions': '4',
  'worker.rows': '2',
  'worker.threads': '2',
  'worker.precision': 'bfloat16',
  'worker.device': '0',
  'worker.tangentPrecision': 'int8',
  'worker.privacy': '{ epsilon: 4, clip: 2 }',
};
const REQUIRED = ['model', 'data.train'];

function lines(schema: Schema, path: string, indent: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, value]) => {
    const name = path === '' ? key : `${path}.${key}`;
    if (value.properties && !(name in EXAMPLES)) return ['', `${indent}${key}:`, ...lines(value, name, `${indent}  `)];
    const choices = value.enum ? ` (${value.enum.join(', ')})` : '';
    const shown = EXAMPLES[name] ?? JSON.stringify(value.default);
    const comment = value.default === undefined && !REQUIRED.includes(name) ? '# ' : '';
    return [`${indent}# ${value.description}${choices}`, `${indent}${comment}${key}: ${shown}`];
  });
}

const schema = z.toJSONSchema(RunFile, { io: 'input' }) as Schema;
const text = [
  '# Every key of a run file with its default. Keys in comments have none. Generated from the schema.',
  ...lines(schema, '', ''),
  '',
].join('\n');
const file = process.argv[2] ?? join(import.meta.dirname, '../docs/run-file.yaml');
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, text);
