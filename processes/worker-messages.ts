/** What a worker process tells the process that started it. */
import type { WorkerReport, WorkerResult } from '../worker/run-worker.ts';

export type WorkerChildMessage =
  | { kind: 'worker'; report: WorkerReport }
  | { kind: 'workerResult'; result: WorkerResult };
