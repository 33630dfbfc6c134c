/**
 * The run config: every key that changes replicas or the meaning of a byte. The trainer sends it to every worker that asks and keeps
 * it in the round log's header; workers compare its hash. Keys of one machine (paths, threads, provider) are not here.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { AdapterDescription } from './adapter.ts';
import { MAX_EXPONENT } from './e4m3.ts';
import { MAX_DIRECTIONS, MAX_WORKERS, STRIPES } from './limits.ts';
import { usageError } from './operating-error.ts';

const positive = z.number().positive();
const count = z.int().min(1);

const CapExponent = z.literal([0, 0.25, 0.5, 0.75, 1]);
const Winsorise = z.enum(['byte', 'worker']);

/** The learning rule's settings and their defaults. */
export const Learning = z.strictObject({
  learningRate: positive.default(2e-3).describe('movement of each adapter element per gradient byte of average size'),
  decayRounds: z
    .int()
    .min(0)
    .optional()
    .describe('the learning rate falls linearly to 1/16 over this many rounds; 0: constant; default: rounds'),
  epsilon: positive.default(1e-2).describe('length of the step along a direction when a loss is measured'),
  estimator: z
    .enum(['spsa', 'oneSided', 'forward', 'backward'])
    .default('spsa')
    .describe(
      'spsa: two losses per direction; oneSided: one, and a clean loss per contribution; forward: the derivative itself, no epsilon; backward: the gradient once, for all directions; needs memory for it',
    ),
  directions: count
    .max(MAX_DIRECTIONS)
    .default(8)
    .describe('K, directions of one contribution; a worker may take fewer'),
  rows: count
    .max(4096)
    .default(4)
    .describe('rows of a minibatch, the same for all directions of a contribution; a worker may choose its own'),
  directionStripes: z
    .literal(STRIPES)
    .default(1)
    .describe('m: a direction touches every m-th block of 64 elements; needs 64 m <= adapter elements'),
  maxStaleness: z
    .int()
    .min(0)
    .max(16)
    .default(0)
    .describe('rounds that a gradient byte may be late and still count; above 0 workers do not wait for the record'),
  cap: count.default(64).describe('gradients in a record up to which each of them counts in full'),
  capExponent: CapExponent.default(0.5).describe(
    'with n gradients above cap each counts (cap / n)^capExponent as much: with 1 the step stops growing, with 0.5 its noise',
  ),
  memory: count.default(64).describe('gradients over which their mean square is averaged'),
  winsorise: Winsorise.default('worker').describe(
    'what is shortened as one where it is louder than others are: each gradient byte, or all that a worker brings to a record',
  ),
  window: count
    .max(65536)
    .default(64)
    .describe('magnitudes of bytes, or of what workers brought to records, that the winsorising median looks back on'),
  clip: count
    .default(4)
    .describe('of a gradient byte at most this many medians count, of n bytes of a worker 1 + (clip - 1) / n'),
  initialExponent: z
    .int()
    .min(-MAX_EXPONENT)
    .max(MAX_EXPONENT)
    .default(0)
    .describe('exponent of the first bytes: byte = E4M3(g / 2^s)'),
});
export type Learning = z.infer<typeof Learning>;

/** How rows become token ids: part of the run, since it changes what a byte means. */
export const DataRules = z.strictObject({
  maxLength: z
    .int()
    .min(2)
    .max(1_048_576)
    .default(256)
    .describe('tokens of a row; longer prompts lose their left end, plain text and chats their right end'),
  appendEos: z
    .boolean()
    .default(false)
    .describe('end completions and plain text with the end-of-text token; chats end as their template ends them'),
  template: z.string().max(65536).optional().describe('prompt of a TSV row, with the column name in braces'),
  verbalizers: z.array(z.string().min(1)).min(2).max(1024).optional().describe('completion of each TSV label'),
});
export type DataRules = z.infer<typeof DataRules>;

export const RunConfig = z.strictObject({
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
  learning: Learning.required({ decayRounds: true }).extend({
    /** These are not left to a default: a config that lacks one comes from a version with another rule. */
    capExponent: CapExponent,
    winsorise: Winsorise,
    /** [record, N]: from this record on the learning rate is that of a run that falls over N records from its first on. A resumed run may add one; none that counted changes. */
    decayChanges: z
      .array(z.tuple([z.int().min(0), z.int().min(0)]))
      .max(1024)
      .optional(),
  }),
  data: DataRules.extend({ shards: z.int().min(1).max(MAX_WORKERS) }),
  adapter: AdapterDescription,
  baseModelSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** sha-256 of the initial adapter's float32 bytes when the run continues one; its bytes stand in the log's header. */
  initialAdapterSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
export type RunConfig = z.infer<typeof RunConfig>;

/** JSON of a run config with sorted keys: the form in which it travels and is hashed. */
export const canonicalJson = (config: object): string => JSON.stringify(sorted(config));

/** sha-256 of the canonical JSON. */
export const runConfigSha256 = (json: string): Buffer => createHash('sha256').update(json).digest();

/** Parses a run config that a peer or a file sent. @throws OperatingError (usage) that names `from` and the key. */
export function parseRunConfig(json: string, from: string): RunConfig {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw usageError(`run config from ${from}: not JSON`, { cause });
  }
  const parsed = RunConfig.safeParse(value);
  if (!parsed.success) throw usageError(`run config from ${from}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** `mine` with what decides nothing as `theirs` has it, to be compared. */
export const comparable = (mine: RunConfig, theirs: RunConfig): RunConfig => ({
  ...mine,
  adapter: { ...mine.adapter, baseModel: theirs.adapter.baseModel },
});

/** The dotted paths at which two run configs differ, with both values. */
export function runConfigDifferences(mine: unknown, theirs: unknown, path = ''): string[] {
  if (Object.is(mine, theirs)) return [];
  if (!isObject(mine) || !isObject(theirs))
    return [`${path}: ${JSON.stringify(mine)} here, ${JSON.stringify(theirs)} there`];
  const keys = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])].sort();
  return keys.flatMap((key) => runConfigDifferences(mine[key], theirs[key], path === '' ? key : `${path}.${key}`));
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === 'object' && value !== null;

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
