/** What trainer and worker processes tell the process that started them, over the IPC channel of a child process. */

import type { BriefReport } from '../trainer/report-kinds.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';
import type { WorkerReport, WorkerResult } from '../worker/run-worker.ts';

export type ChildMessage =
  | { kind: 'listening'; address: string }
  | { kind: 'dashboard'; url: string }
  | { kind: 'trainer'; report: BriefReport; wire: { up: number; down: number } }
  | { kind: 'worker'; report: WorkerReport }
  | { kind: 'trainerResult'; result: TrainerResult }
  | { kind: 'workerResult'; result: WorkerResult };

/** Tells the parent, if there is one; resolves once it is written, so that a last word is not lost. */
export const tellParent = (message: ChildMessage): Promise<void> =>
  new Promise((resolve) => {
    if (process.send && process.connected) process.send(message, () => resolve());
    else resolve();
  });
