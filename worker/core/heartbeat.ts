/** What a heartbeat tells beside that the worker lives: its privacy budget, and what its minibatches lost. */
import { type Measured, NO_LOSSES, type WorkerEffect, type WorkerState } from './state.ts';

/** That the budget is spent a person is told once, and the trainer before the contribution that abstains for it. */
export function onBudget(state: WorkerState, { privacy }: Measured): WorkerEffect[] {
  const isNews = privacy?.exhausted === true && state.privacy?.exhausted !== true;
  state.privacy = privacy;
  return isNews
    ? [{ kind: 'report', report: { kind: 'spent', worker: state.worker!, privacy } }, heartbeat(state)]
    : [];
}

/**
 * Heartbeats tell of what was lost since the last; one goes with each digest. The first loss that a trainer hears of does not wait for
 * either. A worker with a privacy budget tells nothing: what rows lose tells of them.
 */
export function onLosses(state: WorkerState, { losses }: Measured): WorkerEffect[] {
  if (losses === undefined || !Number.isFinite(losses.lossSum) || state.terms!.isPrivate) return [];
  const { lossSum, rows, tokens } = state.untold;
  state.untold = {
    lossSum: lossSum + losses.lossSum,
    rows: rows + losses.rows,
    tokens: tokens + losses.tokens,
  };
  return state.toldLosses ? [] : [heartbeat(state)];
}

export function heartbeat(state: WorkerState): WorkerEffect {
  const { privacy, untold } = state;
  state.untold = NO_LOSSES;
  if (untold.rows === 0) return { kind: 'send', message: { $case: 'heartbeat', value: { privacy } } };
  state.toldLosses = true;
  const trainingLoss = { perRow: untold.lossSum / untold.rows, perToken: untold.lossSum / untold.tokens };
  return { kind: 'send', message: { $case: 'heartbeat', value: { privacy, trainingLoss } } };
}
