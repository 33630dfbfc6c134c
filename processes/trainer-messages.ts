/** What a trainer process tells the process that started it. */
import type { Report } from '../trainer/core/state.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';

/** A report without the detail that only the metrics need. */
export type BriefReport = Exclude<Report, { kind: 'round' }> | Omit<Extract<Report, { kind: 'round' }>, 'detail'>;

export function briefReport(report: Report): BriefReport {
  if (report.kind !== 'round') return report;
  const { detail: _, ...brief } = report;
  return brief;
}

export type TrainerChildMessage =
  | { kind: 'listening'; address: string }
  | { kind: 'dashboard'; url: string }
  | { kind: 'trainer'; report: BriefReport; wire: { up: number; down: number } }
  | { kind: 'trainerResult'; result: TrainerResult };
