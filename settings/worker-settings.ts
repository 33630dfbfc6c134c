/** What belongs to one worker machine: the keys of `worker:` in a run file and their defaults. None is compared between machines. */
import { z } from 'zod';
import { BACKEND_CHOICES } from '../kernels/select-backend.ts';
import { usageError } from '../proto/operating-error.ts';
import { Learning } from '../proto/run-config.ts';

export const PROVIDERS = ['auto', 'cpu', 'webgpu', 'cuda'] as const;

export const PRECISIONS = ['float32', 'tf32', 'bfloat16', 'float16'] as const;

const Privacy = z.strictObject({
  epsilon: z.number().positive().max(1000),
  delta: z.number().positive().lt(1).default(1e-5),
  clip: z.number().positive(),
  answerMs: z.int().min(0).max(3_600_000).default(1000),
  ledger: z.string().min(1).optional(),
});
/** (ε, δ) differential privacy of a worker's rows. */
export type Privacy = z.infer<typeof Privacy>;

export const WorkerSettings = z.strictObject({
  estimator: Learning.shape.estimator
    .unwrap()
    .optional()
    .describe('how this worker measures; default: learning.estimator'),
  directions: z.int().min(1).optional().describe('K of this worker, at most learning.directions, the default'),
  rows: Learning.shape.rows.unwrap().optional().describe('rows of a minibatch of this worker; default: learning.rows'),
  threads: z.int().min(1).max(1024).optional().describe('threads of the forward pass; default: the cores it may use'),
  provider: z.enum(PROVIDERS).default('auto').describe('what runs the forward pass'),
  precision: z
    .enum(PRECISIONS)
    .optional()
    .describe(
      'what linear layers multiply in; default: float16 on provider cuda, or bfloat16 with estimator backward; float32 elsewhere, with int8 weights and with a short epsilon (docs/gpu.md)',
    ),
  device: z
    .int()
    .min(0)
    .max(63)
    .optional()
    .describe('provider cuda: which GPU, counted from 0; default: 0, and simulate spreads its workers over all'),
  quantize: z.enum(['none', 'int8']).default('none').describe('int8: base weights held in 8 bits, float32 arithmetic'),
  tangentPrecision: z
    .enum(['float32', 'int8'])
    .optional()
    .describe('estimator forward: products of tangents with base weights; int8 on provider cpu only; default: float32'),
  kernels: z
    .enum(BACKEND_CHOICES)
    .default('auto')
    .describe('what makes directions and updates, in the trainer of this run file as in its workers'),
  privacy: Privacy.optional().describe(
    'bound of what the bytes tell of one row: noise on clipped rows (docs/privacy.md); delta: default 1e-5; clip: what the norm of the gradient of one row is cut to, as its slopes tell it, nats; answerMs: an answer leaves so long after its measuring began, or twice that, …; default 1000; ledger: directory that keeps what was spent; default: the data file with .privacy behind it; needed where the data is several files',
  ),
  giveUpMs: z
    .int()
    .min(1)
    .default(600_000)
    .describe('a trainer not reached for so long ends the worker with exit code 4'),
});
export type WorkerSettings = z.infer<typeof WorkerSettings>;

/** `learning` as this worker measures: with its own estimator, directions and rows. @throws OperatingError (usage): too many directions */
export function ownLearning<L extends Pick<Learning, 'estimator' | 'directions' | 'rows'>>(
  learning: L,
  settings: WorkerSettings,
): L {
  const { estimator, directions, rows } = learning;
  if (settings.directions !== undefined && settings.directions > directions)
    throw usageError(
      `worker.directions ${settings.directions}: learning.directions is ${directions}, the most that a contribution of this run may hold; set worker.directions to that or less, or leave it out`,
    );
  return {
    ...learning,
    estimator: settings.estimator ?? estimator,
    directions: settings.directions ?? directions,
    rows: settings.rows ?? rows,
  };
}

/** What the forward pass must differentiate. */
export interface Derivatives {
  /** The precision of tangents; undefined where the estimator needs none. */
  readonly tangents?: 'float32' | 'int8';
  readonly gradients?: boolean;
}

/** What an estimator needs of the forward pass. @throws OperatingError (usage): keys that do not go together */
export function derivativesOf(
  { estimator }: Pick<Learning, 'estimator'>,
  { tangentPrecision, quantize }: Pick<WorkerSettings, 'tangentPrecision' | 'quantize'>,
): Derivatives {
  if (tangentPrecision !== undefined && estimator !== 'forward')
    throw usageError(
      `worker.tangentPrecision ${tangentPrecision}: the estimator is ${estimator}, expected forward; leave worker.tangentPrecision out, or set worker.estimator: forward`,
    );
  if (estimator === 'spsa' || estimator === 'oneSided') return {};
  if (quantize !== 'none') {
    const also = estimator === 'forward' ? ' (worker.tangentPrecision: int8 makes the products of tangents 8-bit)' : '';
    throw usageError(
      `worker.quantize ${quantize}: not supported with estimator ${estimator}; set worker.quantize: none${also}, or worker.estimator: spsa`,
    );
  }
  return estimator === 'backward' ? { gradients: true } : { tangents: tangentPrecision ?? 'float32' };
}
