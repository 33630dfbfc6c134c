/** What belongs to one worker machine: the keys of `worker:` in a run file and their defaults. None is compared between machines. */
import { z } from 'zod';
import { BACKEND_CHOICES } from '../kernels/select-backend.ts';

export const WorkerSettings = z.strictObject({
  threads: z.int().min(1).max(1024).optional().describe('threads of the forward pass; default: the cores it may use'),
  provider: z.enum(['auto', 'cpu', 'webgpu', 'cuda']).default('auto').describe('what runs the forward pass'),
  quantize: z.enum(['none', 'int8']).default('none').describe('int8: base weights held in 8 bits, float32 arithmetic'),
  kernels: z.enum(BACKEND_CHOICES).default('auto').describe('what makes directions and updates'),
  giveUpMs: z
    .int()
    .min(1)
    .default(600_000)
    .describe('a trainer not reached for so long ends the worker with exit code 4'),
});
export type WorkerSettings = z.infer<typeof WorkerSettings>;
