/** Commits a record: the one place where a round ends. Everything it asks for comes behind the append. */
import { absorb, clippedGradients, exponentInForce, liveGradients } from '../../kernels/learning-rule.ts';
import { meanTrainingLoss } from '../../proto/evaluation.ts';
import { Notice_Kind, type Record } from '../../proto/gen/onebyte.ts';
import { DIGEST_EVERY, MAX_RECENT_RECORDS } from '../../proto/limits.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { entriesOf, type RecordEntry, recordOf } from '../../proto/record.ts';
import { withProof } from '../../proto/record-proof.ts';
import { startEvaluation } from './evaluation.ts';
import { finish } from './last-word.ts';
import { chargeFor, deadlineOf, expectedMembers, readyMembers } from './quorum.ts';
import { roundDetail } from './round-detail.ts';
import type { Effect, Member, TrainerState } from './state.ts';

/** Records in a row without a live byte after which a run has diverged. */
const EMPTY_RECORDS = 3;

const byPlace = (a: RecordEntry, b: RecordEntry): number =>
  b.staleness - a.staleness || a.worker - b.worker || a.firstDirection - b.firstDirection;

/** Closes the open round with what it holds. `missing`: the members that it waited for in vain. */
export function closeRound(state: TrainerState, atMs: number, missing: readonly Member[] = []): Effect[] {
  const { normaliser, pending } = state;
  const record = recordOf(normaliser.round, exponentInForce(normaliser), [...pending].sort(byPlace));
  chargeFor(state, missing);
  return commitRecord(state, record, atMs, missing);
}

/** Makes `record` (without proof) the next of the run. `missing`: undefined where a worker gave the record back. */
export function commitRecord(
  state: TrainerState,
  record: Record,
  atMs: number,
  missing: readonly Member[] | undefined,
): Effect[] {
  const { rounds, runSecret, learning } = state.rules;
  const entries = entriesOf(record);
  const absorbed = absorb(state.normaliser, learning, record, entries);
  const { normaliser, update } = absorbed;
  const { ms, ...times } = timesOf(state, atMs);
  const { deadlineMs: closesAfterMs } = state;
  const answeredMs = new Map([...state.answers].map(([worker, answer]) => [worker, answer.ms]));
  const expected = missing?.map(({ worker }) => worker) ?? [];
  const detail = roundDetail(record, entries, absorbed, answeredMs, expected, learning);
  const gradients = liveGradients(record);
  const isEmpty = gradients === 0 && missing !== undefined && haveMostAbstained(state, entries);
  state.emptyRecords = isEmpty ? state.emptyRecords + 1 : 0;
  noteRecord(state, record, entries);
  state.normaliser = normaliser;
  state.idleFraction = times.idleFraction;
  openRound(state, atMs);
  const recovered = missing === undefined;
  const done = normaliser.round >= rounds;
  const digest = done || recovered || normaliser.round % DIGEST_EVERY === 0;
  const effects: Effect[] = [
    { kind: 'append', frames: [{ frame: { $case: 'record', value: record } }] },
    { kind: 'broadcast', message: { message: { $case: 'record', value: withProof(runSecret, record) } } },
    { kind: 'apply', absorbed, digest },
    {
      kind: 'report',
      report: {
        kind: 'round',
        round: normaliser.round,
        contributions: record.workers.length,
        gradients,
        clipped: clippedGradients(update),
        members: state.members.size,
        trainingLoss: meanTrainingLoss([...state.members.values()].flatMap(({ trainingLoss }) => trainingLoss ?? [])),
        ms,
        deadlineMs: closesAfterMs,
        ...times,
        detail,
      },
    },
  ];
  if (recovered) effects.push({ kind: 'report', report: { kind: 'recovered', round: record.round } });
  if (state.emptyRecords >= EMPTY_RECORDS) return [...effects, ...diverged(state)];
  return [...effects, ...afterRound(state, done, atMs)];
}

/**
 * True when the entries are of more than half of all members that there are and, as far as records are kept at hand, were: those who are
 * left while the others are away do not end their run.
 */
function haveMostAbstained(state: TrainerState, entries: readonly RecordEntry[]): boolean {
  const said = new Set(entries.map(({ worker }) => worker));
  const abstained = expectedMembers(state).filter(({ worker }) => said.has(worker)).length;
  const all = new Set([...state.members.keys(), ...state.recent.flatMap(({ workers }) => workers)]);
  return 2 * abstained > all.size;
}

/** Length of the round that ends, and the part of it that those who answered waited for others. */
function timesOf(state: TrainerState, atMs: number): { ms: number; idleFraction: number } {
  const ms = atMs - state.openedMs;
  const waits = [...state.answers.values()].map((answer) => Math.max(0, ms - answer.ms));
  const total = waits.reduce((sum, wait) => sum + wait, 0);
  return { ms, idleFraction: ms > 0 && waits.length > 0 ? total / waits.length / ms : 0 };
}

/** What a committed record, new or read from the log, leaves in the state beside the replica. `entries`: the record's. */
export function noteRecord(
  state: TrainerState,
  record: Record,
  entries: readonly RecordEntry[] = entriesOf(record),
): void {
  state.gradients += liveGradients(record);
  state.recent.push(record);
  if (state.recent.length > MAX_RECENT_RECORDS) state.recent.shift();
  for (const { worker, staleness, firstDirection, gradientBytes } of entries) {
    const measuredRound = record.round - staleness;
    const nextDirection = firstDirection + gradientBytes.length;
    const last = state.heard.get(worker);
    const isSame = last?.measuredRound === measuredRound;
    state.contributors.add(worker);
    // A contribution that came while the trainer ran was noted as it came.
    if (last && (last.measuredRound > measuredRound || (isSame && last.nextDirection >= nextDirection))) continue;
    state.heard.set(worker, { measuredRound, nextDirection, contributions: isSame ? last.contributions + 1 : 1 });
  }
}

/** Makes `normaliser.round` the open round. */
export function openRound(state: TrainerState, atMs: number): void {
  const { normaliser, former, rules } = state;
  const { round } = normaliser;
  state.pending = [];
  state.pendingGradients = 0;
  state.stillMissing = 0;
  state.answers.clear();
  const ready = readyMembers(state).length;
  const toCome = round === 0 ? rules.settings.startWorkers : 0;
  state.sharers = Math.max(1, ready, toCome, former.names.size);
  state.openedMs = atMs;
  state.deadlineMs = deadlineOf(state);
  state.openings.set(round, atMs);
  state.openings.delete(round - rules.learning.maxStaleness - 2);
}

function afterRound(state: TrainerState, done: boolean, atMs: number): Effect[] {
  const { evaluateEvery, checkpointEvery } = state.rules.settings;
  const { round } = state.normaliser;
  const due = (every: number): boolean => done || (every > 0 && round % every === 0);
  const effects: Effect[] = [];
  if (due(checkpointEvery)) effects.push({ kind: 'checkpoint', round, best: false });
  if (done) state.phase = 'finalEvaluation';
  // One that is open is waited for: who measures when it is asked answers a round later, and a slow member later still.
  if (due(evaluateEvery) && (done || !state.evaluation)) effects.push(...startEvaluation(state, atMs));
  return [...effects, ...finishWhenDone(state)];
}

function diverged(state: TrainerState): Effect[] {
  const members = [...state.members.values()];
  if (members.every(({ isSpent }) => isSpent)) {
    const text =
      'the privacy budgets of all workers are spent, by this run and all others on these rows. Raise worker.privacy.epsilon and go on with --resume, or take rows that have told nothing yet';
    return finish(state, EXIT.usage, Notice_Kind.RUN_FAILED, text);
  }
  const text = `${EMPTY_RECORDS} records in a row held no live byte: most workers measured no finite loss, or have spent their privacy budget. Lower learning.learningRate or learning.epsilon, or go back to an earlier checkpoint`;
  return finish(state, EXIT.diverged, Notice_Kind.RUN_FAILED, text);
}

/**
 * Ends the run once its last record is committed and no evaluation is open. The checkpoint is there by now, unless the trainer
 * that committed the record was killed before it wrote one.
 */
export function finishWhenDone(state: TrainerState): Effect[] {
  if (state.phase !== 'finalEvaluation' || state.recovery || state.evaluation) return [];
  const { stopReason } = state;
  const { round } = state.normaliser;
  return [
    { kind: 'checkpoint', round, best: false },
    ...finish(
      state,
      EXIT.done,
      Notice_Kind.RUN_DONE,
      `${round} ${round === 1 ? 'round' : 'rounds'} done${stopReason === undefined ? '' : `: ${stopReason}`}`,
    ),
  ];
}
