/** From the trainer's reports to observations of the run. Pure. */

import type { RoundDetail } from '../core/round-detail.ts';
import type { Report } from '../core/state.ts';
import type { Observation, RoundLine } from './line.ts';

/** Workers named in a round line, of each kind. */
const NAMED = 3;

/** @param wire socket bytes of this process so far @param at ms since 1970 */
export function observationsOf(report: Report, wire: { up: number; down: number }, at: number): Observation[] {
  switch (report.kind) {
    case 'round': {
      const { shares, answeredMs, missing } = report.detail;
      return [{ kind: 'answers', shares, answeredMs, missing }, roundLine(report, wire, at)];
    }
    case 'late':
      return [{ kind: 'late', worker: report.worker }];
    case 'digest':
    case 'privacy':
      return [report];
    default:
      return [{ ...report, at }];
  }
}

function roundLine(
  report: Extract<Report, { kind: 'round' }>,
  wire: { up: number; down: number },
  at: number,
): RoundLine {
  const { kind, round, gradients, contributions, clipped, members, trainingLoss, ms, detail } = report;
  const inOrder = [...detail.answeredMs].sort((a, b) => b[1] - a[1]);
  return {
    kind,
    at,
    round,
    gradients,
    contributions,
    clipped,
    members,
    trainingLoss: trainingLoss && {
      perRow: sixDigits(trainingLoss.perRow),
      perToken: sixDigits(trainingLoss.perToken),
    },
    ms: tenths(ms),
    ...lineDetail(detail),
    answerMs: inOrder.length === 0 ? undefined : tenths(inOrder[inOrder.length >> 1]![1]),
    slowest: inOrder.slice(0, NAMED).map(([worker, answered]) => [worker, tenths(answered)]),
    wire: { ...wire },
  };
}

/** `ms` to a tenth. What came before its round was open took no time. */
export const tenths = (ms: number): number => Math.max(0, Math.round(ms * 10) / 10);

/** What float32 knows of a number that came as one. */
const sixDigits = (x: number): number => Number(x.toPrecision(6));

/** The part of a round line that follows from the detail, whether it was observed or rebuilt. */
export const lineDetail = ({ exponent, learningRate, rms, payloadBytes, buckets, missing }: RoundDetail) => ({
  exponent,
  learningRate,
  rms,
  payloadBytes,
  buckets: [...buckets],
  missing: missing.slice(0, NAMED),
  missed: missing.length,
});
