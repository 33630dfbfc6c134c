/** What a trainer process tells the process that started it. */
import type { BriefReport } from '../trainer/report-kinds.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';

export type TrainerChildMessage =
  | { kind: 'listening'; address: string }
  | { kind: 'dashboard'; url: string }
  | { kind: 'trainer'; report: BriefReport; wire: { up: number; down: number } }
  | { kind: 'trainerResult'; result: TrainerResult };
