/** Evaluations on the dev split, spread over the members as row ranges while rounds go on. */
import { evaluationOf, type Figures, figuresOf, isBetter } from '../../proto/evaluation.ts';
import type { EvaluationCounts } from '../../proto/gen/onebyte.ts';
import type { Effect, EvaluationPart, Report, StreamId, TrainerState } from './state.ts';
import { noteEvaluation, reasonToStop, timesAboveStart } from './stopping.ts';

/**
 * Asks the members that have caught up for their part of the dev split at the current round. An evaluation that is still
 * open is given up: its θ is gone from those who moved on.
 */
export function startEvaluation(state: TrainerState): Effect[] {
  const members = [...state.members.values()].filter((m) => m.expectedFrom !== undefined && m.stream !== undefined);
  const { devRows } = state.rules;
  state.evaluation = undefined;
  if (devRows === 0 || members.length === 0) return [];
  const { round } = state.normaliser;
  const parts: EvaluationPart[] = [];
  const effects: Effect[] = [{ kind: 'keepAdapter' }];
  members.forEach(({ worker, stream }, i) => {
    const firstRow = Math.floor((devRows * i) / members.length);
    const rows = Math.floor((devRows * (i + 1)) / members.length) - firstRow;
    if (rows === 0) return;
    parts.push({ worker, firstRow, rows, counts: undefined });
    effects.push({
      kind: 'send',
      stream: stream!,
      message: { message: { $case: 'evaluate', value: { round, firstRow, rows } } },
    });
  });
  state.evaluation = { round, parts };
  return effects;
}

/** A member that left may have owed rows: they are evaluated anew, at the round that is open now. */
export const restartEvaluationWithout = (state: TrainerState, worker: number): Effect[] =>
  state.evaluation?.parts.some((part) => part.worker === worker && !part.counts) ? startEvaluation(state) : [];

/** A member is back on another stream: what it owed is asked for again, or anew where its θ has moved on. */
export function askAgain(state: TrainerState, worker: number, stream: StreamId): Effect[] {
  const { evaluation, normaliser } = state;
  const part = evaluation?.parts.find((owed) => owed.worker === worker && !owed.counts);
  if (!evaluation || !part) return [];
  if (evaluation.round !== normaliser.round) return startEvaluation(state);
  const { firstRow, rows } = part;
  const value = { round: evaluation.round, firstRow, rows };
  return [{ kind: 'send', stream, message: { message: { $case: 'evaluate', value } } }];
}

/** Takes one member's counts in; the last of them makes the result, which is logged. */
export function onCounts(state: TrainerState, stream: StreamId, counts: EvaluationCounts): Effect[] {
  const { evaluation } = state;
  const worker = state.workerOfStream.get(stream);
  const part = evaluation?.parts.find(
    (p) => p.worker === worker && p.firstRow === counts.firstRow && p.rows === counts.rows,
  );
  if (!evaluation || !part || counts.round !== evaluation.round) return [];
  if (counts.classified > part.rows || counts.correct > counts.classified)
    return [{ kind: 'refuse', stream, refusal: 'invalid', text: `evaluation counts exceed ${part.rows} rows` }];
  part.counts = counts;
  if (evaluation.parts.some((p) => !p.counts)) return [];
  state.evaluation = undefined;
  return onResult(
    state,
    evaluation.round,
    evaluation.parts.map((p) => p.counts!),
  );
}

function onResult(state: TrainerState, round: number, counts: readonly EvaluationCounts[]): Effect[] {
  const result = evaluationOf(round, counts);
  const best = isBetter(result, state.best);
  if (best) state.best = result;
  const figures = figuresOf(result);
  const report: Report = { kind: 'evaluation', round, rows: result.rows, ...figures, best };
  return [
    { kind: 'append', frames: [{ frame: { $case: 'evaluation', value: result } }] },
    { kind: 'report', report },
    ...(best ? [{ kind: 'checkpoint', round, best } as const] : []),
    ...judge(state, figures, best),
  ];
}

/** What follows from an evaluation beside its result: a warning, and the end of a run that needs no more rounds. */
function judge(state: TrainerState, figures: Figures, best: boolean): Effect[] {
  const { progress, rules, normaliser } = state;
  noteEvaluation(progress, figures, best);
  if (state.phase === 'training') state.stopReason = reasonToStop(progress, figures, rules.settings);
  if (state.stopReason !== undefined) state.phase = 'finalEvaluation';
  const [evaluations, { startLoss }] = [timesAboveStart(progress), progress];
  if (evaluations === undefined || startLoss === undefined) return [];
  return [{ kind: 'report', report: { kind: 'worse', round: normaliser.round, startLoss, evaluations } }];
}
