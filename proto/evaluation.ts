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
    loss: isFiniteLoss({ rows, lossSum }) ? lossSum / rows : undefined,
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

/** Nats that a row may lose at most: more is no number, whoever says it. A completion of a million tokens loses 1 a token. */
const MAX_ROW_LOSS = 1e6;

const isFiniteLoss = ({ rows, lossSum }: { rows: number; lossSum: number }): boolean =>
  Number.isFinite(lossSum) && lossSum <= rows * MAX_ROW_LOSS;

/** Why nobody can have counted this, in the message of a member or in an old log; undefined: it may be so. */
export function countsProblem({
  rows,
  correct,
  classified,
  lossSum,
}: Omit<EvaluationCounts, 'firstRow' | 'round'>): string | undefined {
  if (rows < 1 || classified > rows || correct > classified)
    return `${correct} of ${classified} rows are right, of ${rows} rows`;
  if (lossSum < 0) return `a loss of ${lossSum}, expected at least 0`;
  return undefined;
}

/**
 * Whether two members may both have counted right. Backends and precisions differ: 8-bit weights moved a row's loss by up to
 * 0.4 % (docs/benchmarks.md), and flip rows whose options are nearly as likely. Twelve times that is allowed, and one row.
 */
export function agree(a: EvaluationCounts, b: EvaluationCounts): boolean {
  if (a.classified !== b.classified || Math.abs(a.correct - b.correct) > 1 + 0.05 * a.rows) return false;
  if (isFiniteLoss(a) !== isFiniteLoss(b)) return false;
  return !isFiniteLoss(a) || Math.abs(a.lossSum - b.lossSum) <= 0.05 * Math.max(a.lossSum, b.lossSum) + 0.01 * a.rows;
}
