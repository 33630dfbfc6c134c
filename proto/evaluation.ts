/**
 * What the counts of an evaluation say: the loss per row and the accuracy, and which of two evaluations is better. The only
 * file that knows what is counted beside the objective that counts it (worker/objectives).
 */
import type { Evaluation, EvaluationCounts } from './gen/onebyte.ts';

/** Sums over rows of a split, as they travel and stand in the round log. */
export type Counts = Pick<Evaluation, 'correct' | 'classified' | 'lossSum'>;

/** What a person and a monitor are told of an evaluation. */
export interface Figures {
  /** Nats per row; undefined when it is not finite. */
  readonly loss: number | undefined;
  /** Part of the rows with options whose right option was the likeliest, 0…1; undefined where no row has options. */
  readonly accuracy: number | undefined;
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

/** The figures of counts over `rows` rows. */
export function figuresOf({ rows, correct, classified, lossSum }: Counts & { readonly rows: number }): Figures {
  return {
    loss: Number.isFinite(lossSum) ? lossSum / rows : undefined,
    accuracy: classified > 0 ? correct / classified : undefined,
  };
}

/** More right answers, then less loss; an evaluation without a finite loss is never better. */
export function isBetter(a: Evaluation, b: Evaluation | undefined): boolean {
  const [one, other] = [figuresOf(a), b && figuresOf(b)];
  if (one.loss === undefined) return false;
  if (other?.loss === undefined) return true;
  const [right, rightBefore] = [one.accuracy ?? 0, other.accuracy ?? 0];
  return right > rightBefore || (right === rightBefore && one.loss < other.loss);
}
