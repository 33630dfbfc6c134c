/** What the evaluations of a run say of its end: good enough, no better for long, or worse than it began. */
import { type Figures, figuresOf, isBetter } from '../../proto/evaluation.ts';
import type { Evaluation } from '../../proto/gen/onebyte.ts';
import type { TrainerSettings } from '../../settings/trainer-settings.ts';

/** Evaluations in a row with a dev loss above the first after which a person is warned. */
const WARN_AFTER = 3;

/** What is remembered of the evaluations. Updated in place by `noteEvaluation`. */
export interface Progress {
  best: Evaluation | undefined;
  /** Dev loss of the first evaluation, nats per row. */
  startLoss: number | undefined;
  /** Evaluations since the last whose loss was not above that. */
  aboveStart: number;
  /** Evaluations since the best. */
  sinceBest: number;
}

export const initialProgress = (): Progress => ({
  best: undefined,
  startLoss: undefined,
  aboveStart: 0,
  sinceBest: 0,
});

/** Takes in the next evaluation, new or read from the log. @returns it is the best so far */
export function noteEvaluation(progress: Progress, evaluation: Evaluation): boolean {
  const { loss } = figuresOf(evaluation);
  const isBest = isBetter(evaluation, progress.best);
  if (isBest) progress.best = evaluation;
  progress.startLoss ??= loss;
  const isAbove = loss === undefined || (progress.startLoss !== undefined && loss > progress.startLoss);
  progress.aboveStart = isAbove ? progress.aboveStart + 1 : 0;
  progress.sinceBest = isBest ? 0 : progress.sinceBest + 1;
  return isBest;
}

/** How many evaluations in a row were above the start, where that is to be said now: once for each time that it happens. */
export const timesAboveStart = ({ aboveStart }: Progress): number | undefined =>
  aboveStart === WARN_AFTER ? aboveStart : undefined;

type Limits = Pick<TrainerSettings, 'stopAt' | 'patience'>;

/** Why the run ends with this evaluation; undefined: it goes on. */
export function reasonToStop(
  { sinceBest }: Progress,
  { loss, accuracy }: Figures,
  { stopAt, patience }: Limits,
): string | undefined {
  if (stopAt?.loss !== undefined && loss !== undefined && loss <= stopAt.loss)
    return `dev loss ${loss.toFixed(4)} is at most trainer.stopAt.loss ${stopAt.loss}`;
  if (stopAt?.accuracy !== undefined && accuracy !== undefined && accuracy >= stopAt.accuracy)
    return `dev accuracy ${accuracy.toFixed(4)} is at least trainer.stopAt.accuracy ${stopAt.accuracy}`;
  if (patience !== undefined && sinceBest >= patience)
    return `no better evaluation since ${sinceBest} of them (trainer.patience)`;
  return undefined;
}
