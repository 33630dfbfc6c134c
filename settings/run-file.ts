/** The run file: what a user writes about a run, in YAML. Sections belong to the rooms that use them; here they meet. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { OperatingError, usageError } from '../proto/operating-error.ts';
import { DataRules, Learning } from '../proto/run-config.ts';
import { TrainerSettings } from './trainer-settings.ts';
import { WorkerSettings } from './worker-settings.ts';

const path = z.string().min(1);

/** The adapter to train: PEFT's words. */
const AdapterSection = z.strictObject({
  rank: z.int().min(1).max(4096).default(8).describe('LoRA rank'),
  alpha: z.number().positive().default(16).describe('the update counts alpha / rank times'),
  targets: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .default('all-linear')
    .describe('layers to adapt: all-linear, a list of name endings, or a regular expression for whole names'),
  rslora: z.boolean().default(false).describe('scale by alpha / sqrt(rank)'),
  train: z.enum(['both', 'B']).default('both').describe('B: A stays at its initial values (LoRA-FA)'),
  from: path.optional().describe('PEFT directory to continue; its rank, alpha and targets then hold'),
});

const DataSection = DataRules.extend({
  train: path.describe('JSONL, TSV or CSV file with training rows'),
  dev: path.optional().describe('rows for evaluations during the run'),
  test: path.optional().describe('rows that simulate evaluates before and after the run'),
  shards: z.int().min(1).optional().describe('parts that the training rows are split into; default: workers'),
});

export const RunFile = z.strictObject({
  model: path.describe('Hugging Face model: a directory, or org/name to download'),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0).describe('run seed: decides all that is random'),
  rounds: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(100)
    .describe('records after which the run is done'),
  workers: z.int().min(1).max(1024).default(4).describe('worker processes of onebyte simulate'),
  out: path.default('runs/run').describe('run directory; a new name is taken where it exists'),
  data: DataSection,
  adapter: AdapterSection.prefault({}),
  learning: Learning.prefault({}),
  trainer: TrainerSettings.prefault({}),
  worker: WorkerSettings.prefault({}),
});
export type RunFile = z.infer<typeof RunFile>;

/** Bytes; a long one is a few thousand. */
const MAX_RUN_FILE_BYTES = 2 ** 20;

/**
 * Reads a run file. Paths to model and data in it are relative to it; `out` is relative to the current directory.
 * @param settings `key.path=value` overrides, values in YAML
 * @param options keys that a command has options for; undefined: the option was not given
 * @throws OperatingError (usage) that names the file and the key
 */
export function readRunFile(
  file: string,
  settings: readonly string[] = [],
  options: { readonly [key in 'rounds' | 'workers' | 'seed']?: number | undefined } = {},
): RunFile {
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > MAX_RUN_FILE_BYTES)
      throw usageError(`run file ${file}: ${size} bytes, at most ${MAX_RUN_FILE_BYTES} are allowed`);
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if (cause instanceof OperatingError) throw cause;
    throw usageError(`run file ${file}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  const value = parseYaml(file, text) ?? {};
  if (typeof value !== 'object' || Array.isArray(value)) throw usageError(`run file ${file}: holds no keys`);
  for (const setting of settings) override(value, setting);
  for (const [key, given] of Object.entries(options)) if (given !== undefined) Object.assign(value, { [key]: given });
  const parsed = RunFile.safeParse(value);
  if (!parsed.success) throw usageError(`run file ${file}: ${z.prettifyError(parsed.error)}`);
  return withAbsolutePaths(parsed.data, dirname(resolve(file)));
}

function parseYaml(file: string, text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    throw usageError(`run file ${file}: not YAML: ${(cause as Error).message}`, { cause });
  }
}

/** Sets `learning.epsilon` and the like in a parsed run file; an empty value takes the key away. */
function override(value: unknown, setting: string): void {
  const match = /^([\w.]+)=(.*)$/s.exec(setting);
  if (!match) throw usageError(`--set ${setting}: expected key.path=value`);
  const keys = match[1]!.split('.');
  const last = keys.pop()!;
  let section = value as { [key: string]: unknown };
  for (const key of keys) {
    if (!Object.hasOwn(section, key) || typeof section[key] !== 'object' || section[key] === null)
      Object.defineProperty(section, key, { value: {}, enumerable: true, writable: true, configurable: true });
    section = section[key] as { [key: string]: unknown };
  }
  const parsed = parseYaml(`--set ${setting}`, match[2]!);
  if (parsed === null) delete section[last];
  else Object.defineProperty(section, last, { value: parsed, enumerable: true, writable: true, configurable: true });
}

/** A model that looks like a path is one, and so is `org/name` where there is such a directory. */
const isPath = (model: string, base: string): boolean =>
  model.startsWith('.') || model.startsWith('/') || !/^[^/]+\/[^/]+$/.test(model) || existsSync(resolve(base, model));

function withAbsolutePaths(run: RunFile, base: string): RunFile {
  const { data, adapter } = run;
  const absolute = (file: string | undefined): string | undefined =>
    file === undefined ? undefined : resolve(base, file);
  return {
    ...run,
    model: isPath(run.model, base) ? resolve(base, run.model) : run.model,
    data: { ...data, train: resolve(base, data.train), dev: absolute(data.dev), test: absolute(data.test) },
    adapter: { ...adapter, from: absolute(adapter.from) },
  };
}
