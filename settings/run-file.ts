/**
 * The run file: what a user writes about a run, in YAML.
 *
 * The room settings/ is every key that a user may set, with its meaning and its default. What of it all machines must share travels as the
 * run config, proto/run-config.ts; nothing here reads a model or data.
 */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { readTextFile } from '../platform/read-json-file.ts';
import { AdapterDescription } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import { DataRules, Learning, RunConfig } from '../proto/run-config.ts';
import { parseKeys } from './explain-keys.ts';
import { EARLY_ENDS, TrainerSettings } from './trainer-settings.ts';
import { WorkerSettings } from './worker-settings.ts';

const path = z.string().min(1);

/** Workers that `simulate` starts as processes, or that are launched on Kubernetes, at once. */
export const MOST_WORKERS = 1024;

/** Where neither the run file nor an adapter that is continued says it. */
export const NEW_ADAPTER = { rank: 8, alpha: 16, targets: 'all-linear', rslora: false } as const;

/** The adapter to train: PEFT's words. */
export const AdapterSection = z.strictObject({
  rank: z.int().min(1).max(4096).optional().describe(`LoRA rank; default: ${NEW_ADAPTER.rank}, or as in from`),
  alpha: z
    .number()
    .positive()
    .optional()
    .describe(`the update counts alpha / rank times; default: ${NEW_ADAPTER.alpha}, or as in from`),
  targets: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .optional()
    .describe(
      `layers to adapt: all-linear, a list of name endings, or a regular expression for whole names; default: ${NEW_ADAPTER.targets}, or as in from`,
    ),
  rslora: z.boolean().optional().describe(`scale by alpha / sqrt(rank); default: ${NEW_ADAPTER.rslora}, or as in from`),
  train: AdapterDescription.shape.train.default('both').describe('B: A stays at its initial values (LoRA-FA)'),
  from: path
    .optional()
    .describe('PEFT directory to continue; its rank, alpha, targets and rslora then hold, and others here are refused'),
});

const { directionStripes } = Learning.shape;
const LearningSection = Learning.extend({
  directionStripes: directionStripes
    .unwrap()
    .optional()
    .describe(`${directionStripes.description}; default: 1, or what makes applying a round of a large adapter cheap`),
});

const DataSection = DataRules.extend({
  train: z
    .union([path, z.array(path).min(1).max(1024)])
    .optional()
    .describe('JSONL, TSV or CSV file with training rows, or a list of such files; a trainer alone needs none'),
  dev: path.optional().describe('rows for evaluations during the run'),
  test: path.optional().describe('rows that simulate evaluates before and after the run'),
  shards: RunConfig.shape.data.shape.shards
    .optional()
    .describe('parts that the training rows are split into; default: workers'),
});

export const RunFile = z.strictObject({
  model: path.describe('Hugging Face model: a directory, or org/name to download'),
  seed: RunConfig.shape.seed.default(0).describe('run seed: decides all that is random'),
  rounds: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(100)
    .describe('records after which the run is done'),
  workers: z
    .int()
    .min(1)
    .max(MOST_WORKERS)
    .default(4)
    .describe('workers that are expected: simulate starts so many, shared rows are divided among so many'),
  out: path.default('runs/run').describe('run directory; a new name is taken where it exists'),
  data: DataSection.prefault({}),
  adapter: AdapterSection.prefault({}),
  learning: LearningSection.prefault({}),
  trainer: TrainerSettings.prefault({}),
  worker: WorkerSettings.prefault({}),
});
export type RunFile = z.infer<typeof RunFile>;

/** A run file whose keys that default to other keys are fixed. */
export interface SettledRunFile extends RunFile {
  readonly learning: RunFile['learning'] & { readonly decayRounds: number };
  readonly data: RunFile['data'] & { readonly shards: number };
}

/** Fixes what the run file leaves out as the run `started` has it, if there is one, and else by the run file's other keys. */
export function settled(run: RunFile, started: RunConfig | undefined): SettledRunFile {
  const decayRounds = run.learning.decayRounds ?? started?.learning.decayRounds ?? run.rounds;
  const directionStripes = run.learning.directionStripes ?? started?.learning.directionStripes;
  const shards = run.data.shards ?? started?.data.shards ?? run.workers;
  return { ...run, learning: { ...run.learning, decayRounds, directionStripes }, data: { ...run.data, shards } };
}

/**
 * For a run all of whose workers read this run file.
 * @throws OperatingError (usage): workers with a privacy budget would share rows, of which each spends the budget that it plans for
 * itself; or the run is to end by evaluations, which none of them makes
 */
export function checkBudget({ worker, workers, trainer, data: { shards } }: SettledRunFile): void {
  if (!worker.privacy) return;
  if (workers > shards)
    throw usageError(
      `worker.privacy: ${workers} workers would share ${shards} shards (data.shards), and rows of a shared one have their budget spent by each of its workers, long before the run is done; expected at least as many shards as workers`,
    );
  for (const key of EARLY_ENDS)
    if (trainer[key] !== undefined)
      throw usageError(
        `trainer.${key}: workers with a privacy budget evaluate nothing, so that the run would not end by it; leave it out, and evaluate checkpoints with onebyte eval`,
      );
}

/** The files of training rows of a run whose workers read them from its run file. @throws OperatingError (usage): it names none */
export function trainFiles({ data }: Pick<RunFile, 'data'>, file: string): readonly string[] {
  if (data.train === undefined)
    throw usageError(`run file ${file}: data.train is missing; only a trainer whose workers have --data needs none`);
  return [data.train].flat();
}

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
  const name = `run file ${file}`;
  const value = parseYaml(name, readTextFile(file, MAX_RUN_FILE_BYTES, { name })) ?? {};
  if (typeof value !== 'object' || Array.isArray(value)) throw usageError(`${name}: holds no keys`);
  for (const setting of settings) override(value, setting);
  for (const [key, given] of Object.entries(options)) if (given !== undefined) Object.assign(value, { [key]: given });
  const parsed = parseKeys(RunFile, value);
  if ('faults' in parsed) throw usageError(`${name}: ${parsed.faults}`);
  return withAbsolutePaths(parsed.data, dirname(resolve(file)));
}

/**
 * What a machine without a run file says of itself: `worker.key=value` overrides alone. Paths are relative to the current directory.
 * @throws OperatingError (usage) that names the key: all others are the run's, which such a machine has from its trainer
 */
export function workerSettings(settings: readonly string[]): WorkerSettings {
  const value = {};
  for (const setting of settings) override(value, setting);
  const schema = z.strictObject({ worker: WorkerSettings.prefault({}) });
  const parsed = parseKeys(schema, value);
  if ('faults' in parsed) throw usageError(`--set without a run file: ${parsed.faults}`);
  return withAbsoluteLedger(parsed.data.worker, '.');
}

/** `template: {sentence} It was` is a map to YAML, and more behind it. */
function quoteHint(text: string, error: unknown): string {
  if (!(error instanceof YAMLParseError) || error.code !== 'UNEXPECTED_TOKEN') return '';
  const line = text.split('\n')[(error.linePos?.[0].line ?? 1) - 1] ?? '';
  const [, value] = /(?:^|: +)([{[].*)$/.exec(line) ?? [];
  return value === undefined ? '' : `A text that begins with ${value[0]} is quoted: ${JSON.stringify(value)}`;
}

function parseYaml(where: string, text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    throw usageError(`${where}: not YAML: ${(cause as Error).message}${quoteHint(text, cause)}`, { cause });
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
  const { data, adapter, worker } = run;
  const at = (file: string): string => resolve(base, file);
  const absolute = (file: string | undefined): string | undefined => file && at(file);
  return {
    ...run,
    model: isPath(run.model, base) ? resolve(base, run.model) : run.model,
    data: {
      ...data,
      train: Array.isArray(data.train) ? data.train.map(at) : absolute(data.train),
      dev: absolute(data.dev),
      test: absolute(data.test),
    },
    adapter: { ...adapter, from: absolute(adapter.from) },
    worker: withAbsoluteLedger(worker, base),
  };
}

function withAbsoluteLedger(worker: WorkerSettings, base: string): WorkerSettings {
  const { privacy } = worker;
  return { ...worker, privacy: privacy && { ...privacy, ledger: privacy.ledger && resolve(base, privacy.ledger) } };
}
