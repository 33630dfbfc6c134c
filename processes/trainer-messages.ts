/** What a trainer process tells the process that started it. */
import type { BriefReport } from '../trainer/report-kinds.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';

export type TrainerChildMessage =
  /** `resumed`: for a person, of a run that was begun before. */
  | { kind: 'listening'; address: string; resumed: string | undefined }
  | { kind: 'dashboard'; url: string }
  | { kind: 'trainer'; report: BriefReport; wire: { up: number; down: number } }
  | { kind: 'trainerResult'; result: TrainerResult };
