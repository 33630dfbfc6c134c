/**
 * What the counts of an evaluation say: the loss per row and per token and the accuracy, and which of two evaluations is better. The
 * only file that knows what is counted beside the objective that counts it (worker/objectives), and how large a loss may be.
 */
import type { Evaluation, EvaluationCounts, TrainingLoss } from './gen/onebyte.ts';

/** Sums over rows of a split, as they travel and stand in the round log. */
export type Counts = Pick<Evaluation, 'rows' | 'correct' | 'classified' | 'lossSum' | 'tokens'>;

/** What a person and a monitor are told of an evaluation. A row's loss is the sum over the tokens of its completion. */
export interface Figures {
  /** Nats per row; undefined when it is not finite. */
  readonly loss: number | undefined;
  /** Nats per token; undefined too where tokens were not counted. */
  readonly lossPerToken?: number | undefined;
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
    tokens: counts.every(({ tokens }) => tokens !== undefined) ? sum(({ tokens }) => tokens!) : undefined,
  };
}

/** The figures of counts over `rows` rows. */
export function figuresOf({ rows, correct, classified, lossSum, tokens }: Counts): Figures {
  const sum = isFiniteLoss({ rows, lossSum }) ? lossSum : undefined;
  return {
    loss: sum === undefined ? undefined : sum / rows,
    lossPerToken: sum === undefined || tokens === undefined ? undefined : sum / tokens,
    accuracy: classified > 0 ? correct / classified : undefined,
  };
}

/** `0.585 a row, 0.293 a token`: a person is told which of the two a loss is; `0.585` where rows are of one token. */
export function lossText({ loss, lossPerToken }: Omit<Figures, 'accuracy'>, digits: number): string {
  if (loss === undefined) return 'not finite';
  if (lossPerToken === loss) return loss.toFixed(digits);
  return `${loss.toFixed(digits)} a row${lossPerToken === undefined ? '' : `, ${lossPerToken.toFixed(digits)} a token`}`;
}

/** 0.852 → "85.2 %": a part of the rows. */
export const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;

/** The loss, and the accuracy where there is one. */
export const figuresText = ({ accuracy, ...losses }: Figures, digits: number): string =>
  `${lossText(losses, digits)}${accuracy === undefined ? '' : `, accuracy ${percent(accuracy)}`}`;

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
  tokens,
}: Omit<EvaluationCounts, 'firstRow' | 'round'>): string | undefined {
  if (rows < 1 || classified > rows || correct > classified)
    return `${correct} of ${classified} rows are right, of ${rows} rows`;
  if (lossSum < 0) return `a loss of ${lossSum}, expected at least 0`;
  if (tokens !== undefined && tokens < rows) return `${tokens} tokens of ${rows} rows, expected at least one of each`;
  return undefined;
}

/** Whether a member may have measured this. */
export const isTrainingLoss = ({ perRow, perToken }: TrainingLoss): boolean =>
  [perRow, perToken].every((loss) => loss >= 0 && isFiniteLoss({ rows: 1, lossSum: loss }));

/** The mean of what members say of their minibatches; undefined where none says anything. */
export function meanTrainingLoss(losses: readonly TrainingLoss[]): TrainingLoss | undefined {
  if (losses.length === 0) return undefined;
  const mean = (of: (loss: TrainingLoss) => number): number =>
    losses.reduce((sum, loss) => sum + of(loss), 0) / losses.length;
  return { perRow: mean(({ perRow }) => perRow), perToken: mean(({ perToken }) => perToken) };
}

/**
 * Whether two members may both have counted right. Backends and precisions differ: 8-bit weights moved a row's loss by up to
 * 0.4 % (docs/benchmarks.md), and flip rows whose options are nearly as likely. Twelve times that is allowed, and one row.
 */
export function agree(a: EvaluationCounts, b: EvaluationCounts): boolean {
  if (a.classified !== b.classified || Math.abs(a.correct - b.correct) > 1 + 0.05 * a.rows) return false;
  if (a.tokens !== undefined && b.tokens !== undefined && a.tokens !== b.tokens) return false;
  if (isFiniteLoss(a) !== isFiniteLoss(b)) return false;
  return !isFiniteLoss(a) || Math.abs(a.lossSum - b.lossSum) <= 0.05 * Math.max(a.lossSum, b.lossSum) + 0.01 * a.rows;
}
