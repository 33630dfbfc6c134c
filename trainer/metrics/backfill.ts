/** Lines of metrics.jsonl from a round log, for rounds that were committed and not noted: all but the times is there. */
import {
  absorb,
  clippedGradients,
  initialNormaliser,
  type LearningRule,
  liveGradients,
} from '../../kernels/learning-rule.ts';
import { countsProblem, figuresOf } from '../../proto/evaluation.ts';
import type { LogFrame } from '../../proto/gen/onebyte.ts';
import { entriesOf } from '../../proto/record.ts';
import { roundDetail } from '../core/round-detail.ts';
import { initialProgress, noteEvaluation } from '../core/stopping.ts';
import type { MetricsLine } from './line.ts';
import { lineDetail } from './reports.ts';

/** What metrics.jsonl already holds. */
export interface Noted {
  /** Rounds up to this one. */
  readonly round: number;
  /** Rounds that were evaluated. */
  readonly evaluations: ReadonlySet<number>;
}

/** @param at ms since 1970, given to all lines: when it happened is not in the log */
export function backfill(frames: readonly LogFrame[], rule: LearningRule, noted: Noted, at: number): MetricsLine[] {
  const lines: MetricsLine[] = [];
  const members = new Set<number>();
  let normaliser = initialNormaliser(rule);
  const progress = initialProgress();
  for (const { frame } of frames)
    switch (frame?.$case) {
      case 'joined':
        members.add(frame.value.worker);
        break;
      case 'left':
        members.delete(frame.value.worker);
        break;
      case 'record': {
        const record = frame.value;
        const entries = entriesOf(record);
        const absorbed = absorb(normaliser, rule, record, entries);
        normaliser = absorbed.normaliser;
        if (normaliser.round <= noted.round) break;
        const gradients = liveGradients(record);
        const clipped = clippedGradients(absorbed.update);
        const contributions = record.workers.length;
        const detail = lineDetail(roundDetail(record, entries, absorbed, new Map(), [], rule));
        const counts = { gradients, contributions, clipped, members: members.size };
        lines.push({ kind: 'round', at, round: normaliser.round, ...counts, ...detail, slowest: [] });
        break;
      }
      case 'evaluation': {
        const { round, rows } = frame.value;
        if (countsProblem(frame.value) !== undefined) break;
        const best = noteEvaluation(progress, frame.value);
        if (noted.evaluations.has(round)) break;
        lines.push({ kind: 'evaluation', at, round, rows, ...figuresOf(frame.value), best });
        break;
      }
    }
  return lines;
}
