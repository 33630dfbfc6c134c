/** Which of some learning rates to take, from how the dev loss went with each. */
import type { Figures } from '../proto/evaluation.ts';

export interface Trial {
  readonly rate: number;
  readonly diverged: boolean;
  /** In order, the first before the first round. */
  readonly evaluations: readonly Figures[];
}

/** Two losses closer than this part of the smaller one are alike: a few rounds of noisy steps say no more. */
const ALIKE = 0.02;
/** But not where they are further apart than this part of what was learnt: of a large loss a short run takes off little. */
const ALIKE_OF_GAIN = 0.1;

/** @returns `rate`: undefined where none of them learnt */
export function advice(trials: readonly Trial[]): { rate: number | undefined; text: string } {
  const lossOf = ({ evaluations }: Trial): number => evaluations.at(-1)?.loss ?? Number.POSITIVE_INFINITY;
  const startOf = ({ evaluations }: Trial): number => evaluations[0]?.loss ?? Number.POSITIVE_INFINITY;
  const learnt = trials.filter(
    (trial) => !trial.diverged && trial.evaluations.length > 1 && lossOf(trial) < startOf(trial),
  );
  if (learnt.length === 0)
    return {
      rate: undefined,
      text: 'advice: none of these rates brought the dev loss below its start. Try lower ones, more rounds or more workers, and look at the rows',
    };
  const least = Math.min(...learnt.map(lossOf));
  const gain = Math.max(...learnt.map((trial) => startOf(trial) - lossOf(trial)));
  const margin = Math.min(least * ALIKE, gain * ALIKE_OF_GAIN);
  // The larger of two that are alike is the one that a longer run may not bear.
  const [best] = learnt.filter((trial) => lossOf(trial) <= least + margin).sort((a, b) => a.rate - b.rate);
  const { rate } = best!;
  const rates = trials.map((trial) => trial.rate);
  const edge =
    rate === Math.max(...rates)
      ? ' It is the highest that was tried: try higher ones too.'
      : rate === Math.min(...rates)
        ? ' It is the lowest that was tried: try lower ones too.'
        : '';
  return { rate, text: `advice: learning.learningRate: ${rate}, dev loss ${lossOf(best!).toFixed(3)}.${edge}` };
}
