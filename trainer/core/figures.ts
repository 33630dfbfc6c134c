/** What the counts of an evaluation say to a person and a monitor. */
import { type Figures, figuresOf as figuresOfCounts } from '../../proto/evaluation.ts';
import type { Evaluation, EvaluationCounts } from '../../proto/gen/onebyte.ts';

/** Figures whose loss, nats per row, is undefined where it is not finite. */
export interface ReportedFigures extends Pick<Figures, 'accuracy'> {
  readonly loss: number | undefined;
}

/** The evaluation after `round` records whose parts are `counts`. */
export function evaluationOf(round: number, counts: readonly EvaluationCounts[]): Evaluation {
  const sum = (of: (c: EvaluationCounts) => number): number => counts.reduce((total, c) => total + of(c), 0);
  return {
    round,
    rows: sum(({ rows }) => rows),
    correct: sum(({ correct }) => correct),
    classified: sum(({ classified }) => classified),
    lossSum: sum(({ lossSum }) => lossSum),
  };
}

export function figuresOf(evaluation: Evaluation): ReportedFigures {
  const { loss, accuracy } = figuresOfCounts(evaluation, evaluation.rows);
  return { loss: Number.isFinite(loss) ? loss : undefined, accuracy };
}
