/** Lines of metrics.jsonl from a round log, for rounds that were committed and not noted: all but the times is there. */
import {
  absorb,
  clippedGradients,
  initialNormaliser,
  type LearningRule,
  liveGradients,
} from '../../kernels/learning-rule.ts';
import { figuresOf, isBetter } from '../../proto/evaluation.ts';
import type { LogFrame } from '../../proto/gen/onebyte.ts';
import { roundDetail } from '../core/round-detail.ts';
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
  let best: Parameters<typeof isBetter>[1];
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
        const { normaliser: after, update } = absorb(normaliser, rule, record);
        normaliser = after;
        if (after.round <= noted.round) break;
        const gradients = liveGradients(record);
        const clipped = clippedGradients(update);
        const contributions = record.workers.length;
        const detail = lineDetail(roundDetail(record, after, new Map(), []));
        const counts = { gradients, contributions, clipped, members: members.size };
        lines.push({ kind: 'round', at, round: after.round, ...counts, ...detail, slowest: [] });
        break;
      }
      case 'evaluation': {
        const { round, rows } = frame.value;
        const isBest = isBetter(frame.value, best);
        if (isBest) best = frame.value;
        if (noted.evaluations.has(round)) break;
        const { loss, accuracy } = figuresOf(frame.value, rows);
        const finite = Number.isFinite(loss) ? loss : undefined;
        lines.push({ kind: 'evaluation', at, round, rows, loss: finite, accuracy, best: isBest });
        break;
      }
    }
  return lines;
}
