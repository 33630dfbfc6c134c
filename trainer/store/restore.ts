/** The core's state from a round log: what a restarted trainer knows again. Also how any replica is rebuilt from a log. */
import { type Backend, ownedCopy } from '../../kernels/backend.ts';
import { initialNormaliser } from '../../kernels/learning-rule.ts';
import { applyRecord, initialReplica, type ReplicaState } from '../../kernels/replica.ts';
import { frozenPart, initialMatrices, layoutOf, learningRuleOf, trainedPart } from '../../kernels/run-replica.ts';
import { countsProblem } from '../../proto/evaluation.ts';
import type { Evaluation, LogFrame, Record } from '../../proto/gen/onebyte.ts';
import { usageError } from '../../proto/operating-error.ts';
import { parseRunConfig, type RunConfig } from '../../proto/run-config.ts';
import { noteRecord, openRound } from '../core/commit.ts';
import type { TrainerRules, TrainerState } from '../core/state.ts';
import { initialProgress, noteEvaluation } from '../core/stopping.ts';
import type { LogContents } from './round-log.ts';

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
    newcomers: new Map(),
    members: new Map(),
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
  if (frames.length > 0)
    state.recovery = { untilMs: atMs + rules.settings.leaseMs, awaited: new Set(present.values()), provenRounds: 0 };
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

export interface Replay {
  readonly config: RunConfig;
  readonly replica: ReplicaState;
  /** A and B of all modules at round 0. */
  readonly matrices: Float32Array;
}

/** The replica after the first `rounds` records of a log (all of them when undefined), from the log alone. */
export async function replayLog(log: LogContents, backend: Backend, rounds?: number): Promise<Replay> {
  const config = parseRunConfig(log.header.runConfig, 'the round log');
  const records = log.frames.flatMap(({ frame }): Record[] => (frame?.$case === 'record' ? [frame.value] : []));
  if (rounds !== undefined && rounds > records.length)
    throw usageError(`round ${rounds}: the log holds ${records.length} records`);
  const rule = learningRuleOf(config);
  const matrices = initialMatrices(config, log.header.matrices);
  const layout = layoutOf(config);
  const frozenA = log.header.matrices.length > 0 ? frozenPart(layout, matrices) : undefined;
  let replica = initialReplica(rule, ownedCopy(backend, trainedPart(layout, matrices)), frozenA);
  for (const record of records.slice(0, rounds)) replica = await applyRecord(replica, rule, record, backend);
  return { config, replica, matrices };
}
