/** The core's state as a trainer begins: what the frames of its round log tell, or nothing yet. */
import { initialNormaliser } from '../../kernels/learning-rule.ts';
import type { ReplicaState } from '../../kernels/replica.ts';
import { countsProblem } from '../../proto/evaluation.ts';
import type { Evaluation, LogFrame } from '../../proto/gen/onebyte.ts';
import { noteRecord, openRound } from './commit.ts';
import { MAX_CREDIT } from './quorum.ts';
import type { TrainerRules, TrainerState } from './state.ts';
import { initialProgress, noteEvaluation } from './stopping.ts';

/** The state of a trainer that opens a log with `frames` (none: a new run). */
export function restoreTrainer(
  rules: TrainerRules,
  frames: readonly LogFrame[],
  replica: ReplicaState | undefined,
  atMs: number,
): TrainerState {
  const state: TrainerState = {
    rules,
    epoch: 1 + frames.filter(({ frame }) => frame?.$case === 'epoch').length,
    phase: 'training',
    lastWord: undefined,
    normaliser: replica?.normaliser ?? initialNormaliser(rules.learning),
    numbers: new Map(),
    memberships: new Map(),
    nextMembership: 0,
    allowances: new Map(),
    members: new Map(),
    newcomersCredit: MAX_CREDIT,
    heard: new Map(),
    contributors: new Set(),
    workerOfStream: new Map(),
    pending: [],
    pendingGradients: 0,
    answers: new Map(),
    sharers: 1,
    stillMissing: 0,
    openedMs: atMs,
    deadlineMs: 0,
    openings: new Map(),
    evaluation: undefined,
    progress: initialProgress(),
    stopReason: undefined,
    emptyRecords: 0,
    ownDigests: new Map(),
    gradients: 0,
    lastWaitReportMs: atMs,
    lastTickMs: atMs,
    recent: [],
    recovery: undefined,
    former: { names: new Set(), untilMs: atMs + rules.settings.leaseMs },
    deviations: new Map(),
    doubt: undefined,
    idleFraction: 0,
  };
  const present = new Map<number, string>();
  for (const { frame } of frames) {
    if (frame?.$case === 'joined') {
      state.numbers.set(frame.value.name, frame.value.worker);
      state.memberships.set(frame.value.worker, frame.value.membership);
      present.set(frame.value.worker, frame.value.name);
    } else if (frame?.$case === 'left') present.delete(frame.value.worker);
    else if (frame?.$case === 'evaluation' && isCountable(frame.value)) noteEvaluation(state.progress, frame.value);
    else if (frame?.$case === 'record') noteRecord(state, frame.value);
  }
  state.nextMembership = state.epoch * 2 ** 32;
  for (const name of present.values()) state.former.names.add(name);
  if (frames.length > 0) state.recovery = { awaited: new Set(state.former.names), provenRounds: 0 };
  if (state.normaliser.round >= rules.rounds) state.phase = 'finalEvaluation';
  openRound(state, atMs);
  return state;
}

const isCountable = (evaluation: Evaluation): boolean => countsProblem(evaluation) === undefined;

/** Evaluations in a log that nobody can have counted: trainers before this version took whatever a worker said. */
export const uncountable = (frames: readonly LogFrame[]): { round: number; problem: string }[] =>
  frames.flatMap(({ frame }) => {
    const problem = frame?.$case === 'evaluation' ? countsProblem(frame.value) : undefined;
    return frame?.$case === 'evaluation' && problem !== undefined ? [{ round: frame.value.round, problem }] : [];
  });
