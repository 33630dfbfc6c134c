/** What belongs to one worker machine: the keys of `worker:` in a run file and their defaults. None is compared between machines. */
import { z } from 'zod';
import { BACKEND_CHOICES } from '../kernels/select-backend.ts';
import { usageError } from '../proto/operating-error.ts';
import type { Learning } from '../proto/run-config.ts';

export const PROVIDERS = ['auto', 'cpu', 'webgpu', 'cuda'] as const;

export const PRECISIONS = ['float32', 'tf32', 'bfloat16', 'float16'] as const;

export const WorkerSettings = z.strictObject({
  threads: z.int().min(1).max(1024).optional().describe('threads of the forward pass; default: the cores it may use'),
  provider: z.enum(PROVIDERS).default('auto').describe('what runs the forward pass'),
  precision: z
    .enum(PRECISIONS)
    .default('float32')
    .describe('products with base weights; half-precision weights stay as stored on a GPU, all else is float32'),
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
  kernels: z.enum(BACKEND_CHOICES).default('auto').describe('what makes directions and updates'),
  giveUpMs: z
    .int()
    .min(1)
    .default(600_000)
    .describe('a trainer not reached for so long ends the worker with exit code 4'),
});
export type WorkerSettings = z.infer<typeof WorkerSettings>;

/** The precision of tangents; undefined where the estimator needs none. @throws OperatingError (usage): keys that do not go together */
export function tangentsOf(
  { estimator }: Pick<Learning, 'estimator'>,
  { tangentPrecision, quantize }: WorkerSettings,
): 'float32' | 'int8' | undefined {
  if (estimator !== 'forward') {
    if (tangentPrecision === undefined) return undefined;
    throw usageError(
      `worker.tangentPrecision ${tangentPrecision}: learning.estimator is ${estimator}, expected forward; leave worker.tangentPrecision out, or set learning.estimator: forward`,
    );
  }
  if (quantize !== 'none')
    throw usageError(
      `worker.quantize ${quantize}: not supported with learning.estimator forward; set worker.quantize: none (worker.tangentPrecision: int8 makes the products of tangents 8-bit), or learning.estimator: spsa`,
    );
  return tangentPrecision ?? 'float32';
}
