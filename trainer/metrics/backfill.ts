/**
 * Lines of metrics.jsonl from a round log, for rounds that were committed and not noted: all but the times is there. What each worker
 * contributed is of the whole log, since metrics.jsonl tells it only now and then.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  absorb,
  clippedGradients,
  initialNormaliser,
  type LearningRule,
  liveGradients,
} from '../../kernels/learning-rule.ts';
import { breather } from '../../platform/breath.ts';
import { countsProblem, figuresOf } from '../../proto/evaluation.ts';
import type { LogFrame } from '../../proto/gen/onebyte.ts';
import { entriesOf } from '../../proto/record.ts';
import { roundDetail } from '../core/round-detail.ts';
import { initialProgress, noteEvaluation } from '../core/stopping.ts';
import { inLog } from '../store/replay.ts';
import { newRow } from './history.ts';
import type { MetricsLine, WorkerRow } from './line.ts';
import { lineDetail } from './reports.ts';

/** What metrics.jsonl already holds. */
export interface Noted {
  /** Rounds up to this one. */
  readonly round: number;
  /** Rounds that were evaluated. */
  readonly evaluations: ReadonlySet<number>;
  readonly workers: ReadonlyMap<number, WorkerRow>;
}

/** @param shards of the run @param at ms since 1970, given to all lines: when it happened is not in the log */
export async function backfill(
  frames: readonly LogFrame[],
  rule: LearningRule,
  shards: number,
  noted: Noted,
  at: number,
): Promise<MetricsLine[]> {
  const lines: MetricsLine[] = [];
  const members = new Set<number>();
  const rows = new Map<number, WorkerRow>();
  /** Members as of the last record: they leave the log when the run is over. */
  let present = new Set<number>();
  let hasChanged = false;
  let normaliser = initialNormaliser(rule);
  const progress = initialProgress();
  const breathe = breather();
  for (const { frame } of frames) {
    await breathe();
    switch (frame?.$case) {
      case 'joined':
        members.add(frame.value.worker);
        hasChanged = true;
        rows.set(frame.value.worker, { ...rowOf(rows, frame.value.worker, shards), name: frame.value.name });
        break;
      case 'left':
        members.delete(frame.value.worker);
        hasChanged = true;
        break;
      case 'record': {
        const record = frame.value;
        const [entries, absorbed] = inLog(record, () => {
          const entries = entriesOf(record);
          return [entries, absorb(normaliser, rule, record, entries)];
        });
        normaliser = absorbed.normaliser;
        const detail = roundDetail(record, entries, absorbed, new Map(), [], rule);
        for (const [worker, share] of detail.shares) {
          const row = rowOf(rows, worker, shards);
          const gradients = row.gradients + share.gradients;
          const clipped = row.clipped + share.clipped;
          rows.set(worker, { ...row, gradients, clipped, contributions: row.contributions + share.contributions });
        }
        if (hasChanged) present = new Set(members);
        hasChanged = false;
        if (normaliser.round <= noted.round) break;
        const gradients = liveGradients(record);
        const clipped = clippedGradients(absorbed.update);
        const contributions = record.workers.length;
        const counts = { gradients, contributions, clipped, members: members.size };
        lines.push({ kind: 'round', at, round: normaliser.round, ...counts, ...lineDetail(detail), slowest: [] });
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
  }
  const workers = [...rows.values()].flatMap((row) => {
    const before = noted.workers.get(row.worker);
    if (before) return isCounted(before, row) ? [] : [{ ...row, ...before, ...countsOf(row) }];
    const hasLeft = !members.has(row.worker) && !present.has(row.worker);
    // Of those that have left only the last are kept.
    if (hasLeft && noted.round > 0) return [];
    return [{ ...row, state: hasLeft ? ('left' as const) : ('disconnected' as const) }];
  });
  if (workers.length > 0) lines.push({ kind: 'workers', at, workers });
  return lines;
}

const rowOf = (rows: ReadonlyMap<number, WorkerRow>, worker: number, shards: number): WorkerRow =>
  rows.get(worker) ?? newRow(worker, shards);

const countsOf = ({ gradients, clipped, contributions }: WorkerRow) => ({ gradients, clipped, contributions });

const isCounted = (before: WorkerRow, row: WorkerRow): boolean => isDeepStrictEqual(countsOf(before), countsOf(row));
