/**
 * Evaluations on the dev split, spread over the members as row ranges while rounds go on. Some ranges, which no member can
 * tell beforehand, are given to two; where they differ too much all members are asked, and what most of them say counts.
 * A range that is kept waiting goes to another member while the adapter is still there, and is left out when it is not.
 */
import { agree, countsProblem, evaluationOf, type Figures, figuresOf } from '../../proto/evaluation.ts';
import type { EvaluationCounts } from '../../proto/gen/onebyte.ts';
import { secretDraw } from '../../proto/record-proof.ts';
import { lowerMedian } from './deadline.ts';
import type { EvaluationRange, OpenEvaluation } from './evaluation-range.ts';
import { refuse } from './notice.ts';
import { voices } from './quorum.ts';
import type { Effect, Member, Report, StreamId, TrainerState } from './state.ts';
import { noteEvaluation, reasonToStop, timesAboveStart } from './stopping.ts';

/** Part of the ranges that are given to two members. */
const CHECKED = 1 / 8;
/** Ranges in a row that a member may keep waiting for before it is given none. */
const MAX_MISSED_RANGES = 2;
/** A range that takes so many times as long as usual is given to another member. */
const SLOWER = 4;
/** The longest wait for a range while nobody has answered and nobody else could, ms. */
const CEILING_MS = 3_600_000;
/** Members that are asked for one range that is not disputed, one after another. */
const MAX_ASKS = 4;

/**
 * Asks members for the dev split at the current round: those with gradients in a record, or, before the first, all that have
 * caught up. An evaluation that is still open is given up: its θ is gone from those who moved on. So only the last one is begun then.
 */
export function startEvaluation(state: TrainerState, atMs: number): Effect[] {
  const { devRows } = state.rules;
  state.evaluation = undefined;
  const members = evaluators(state);
  if (devRows === 0) return [];
  if (members.length === 0) return state.phase === 'finalEvaluation' ? [unevaluated(state, devRows)] : [];
  const { round } = state.normaliser;
  const ranges: EvaluationRange[] = [];
  const n = Math.min(members.length, devRows);
  for (let i = 0; i < n; i++) {
    const firstRow = Math.floor((devRows * i) / n);
    const rows = Math.floor((devRows * (i + 1)) / n) - firstRow;
    ranges.push({ firstRow, rows, asks: new Map(), isDisputed: false, counts: undefined, isClosed: false });
  }
  const evaluation = { round, ranges, members: members.length, answeredMs: new Map<number, number>() };
  state.evaluation = evaluation;
  const asked = ranges.flatMap((range, i) => {
    range.isDisputed = members[i]!.isDisputed && members.length > 2;
    return askersOf(state, range, members, i).flatMap((member) => ask(evaluation, range, member, atMs));
  });
  return [{ kind: 'keepAdapter' }, ...asked];
}

/** Members that may be asked: connected, caught up, willing by their own word, and not known for keeping others waiting where there are others. */
function evaluators(state: TrainerState): Member[] {
  const isReady = ({ expectedFrom, stream, noEvaluation }: Member): boolean =>
    expectedFrom !== undefined && stream !== undefined && !noEvaluation;
  const known = voices(state).filter(isReady);
  const ready = known.length > 0 ? known : [...state.members.values()].filter(isReady);
  const willing = ready.filter(({ missedRanges }) => missedRanges < MAX_MISSED_RANGES);
  return willing.length > 0 ? willing : ready;
}

/** The i-th member, another one where the range is checked, and all of them where the last counts of the i-th were disputed. */
function askersOf(
  { rules, normaliser }: TrainerState,
  range: EvaluationRange,
  members: readonly Member[],
  i: number,
): Member[] {
  if (range.isDisputed) return [...members];
  const what = `${normaliser.round}/${range.firstRow}`;
  const draw = (purpose: string): number => secretDraw(rules.runSecret, `${purpose}/${what}`);
  if (members.length < 2 || draw('check') >= CHECKED) return [members[i]!];
  const other = 1 + Math.floor(draw('second') * (members.length - 1));
  return [members[i]!, members[(i + other) % members.length]!];
}

function ask({ round }: OpenEvaluation, range: EvaluationRange, member: Member, atMs: number): Effect[] {
  range.asks.set(member.worker, { atMs, counts: undefined, isOpen: true });
  return [request(round, range, member.stream!)];
}

const request = (round: number, { firstRow, rows }: EvaluationRange, stream: StreamId): Effect => ({
  kind: 'send',
  stream,
  message: { message: { $case: 'evaluate', value: { round, firstRow, rows } } },
});

/** A member left: it owes nothing any longer. */
export function withdraw(state: TrainerState, worker: number, atMs: number): Effect[] {
  for (const range of state.evaluation?.ranges ?? []) {
    const owed = range.asks.get(worker);
    if (owed) owed.isOpen = false;
  }
  return settle(state, atMs);
}

/** A member is back on another stream: what it owes is asked for again, where its θ has not moved on. */
export function askAgain(state: TrainerState, worker: number, stream: StreamId, atMs: number): Effect[] {
  const { evaluation, normaliser } = state;
  if (!evaluation) return [];
  if (evaluation.round !== normaliser.round) return withdraw(state, worker, atMs);
  const owed = evaluation.ranges.filter(({ asks }) => asks.get(worker)?.isOpen);
  for (const { asks } of owed) asks.set(worker, { atMs, counts: undefined, isOpen: true });
  return owed.map((range) => request(evaluation.round, range, stream));
}

/** Takes one member's counts in; the last of them makes the result, which is logged. */
export function onCounts(state: TrainerState, member: Member, counts: EvaluationCounts, atMs: number): Effect[] {
  const { evaluation } = state;
  const range = evaluation?.ranges.find((r) => r.firstRow === counts.firstRow && r.rows === counts.rows);
  const owed = range?.asks.get(member.worker);
  if (owed) member.missedRanges = 0;
  if (!evaluation || !range || !owed || owed.counts || range.isClosed || counts.round !== evaluation.round) return [];
  const problem = countsProblem(counts);
  if (problem) return refuse(member.stream!, 'invalid', `evaluation of worker ${member.worker}: ${problem}`);
  owed.counts = counts;
  owed.isOpen = false;
  if (!evaluation.answeredMs.has(member.worker)) evaluation.answeredMs.set(member.worker, atMs - owed.atMs);
  return settle(state, atMs);
}

/** Gives up on members that keep a range waiting. */
export function expireRanges(state: TrainerState, atMs: number): Effect[] {
  const { evaluation } = state;
  if (!evaluation) return [];
  const patienceMs = patienceOf(state, evaluation);
  let expired = false;
  for (const { asks } of evaluation.ranges)
    for (const [worker, owed] of asks) {
      if (!owed.isOpen || atMs - owed.atMs <= patienceMs) continue;
      owed.isOpen = false;
      expired = true;
      const member = state.members.get(worker);
      if (member) member.missedRanges++;
    }
  return expired ? settle(state, atMs) : [];
}

/**
 * How long a range is waited for, ms: told by the members that answered. A lease is the least while they are fewer than half
 * of those that were asked; what comes later still counts as long as the range is open.
 */
function patienceOf(state: TrainerState, { answeredMs, members, ranges }: OpenEvaluation): number {
  const { heartbeatMs, leaseMs } = state.rules.settings;
  const usualMs = answeredMs.size > 0 ? SLOWER * lowerMedian([...answeredMs.values()]) : 0;
  if (2 * answeredMs.size >= members) return Math.max(heartbeatMs, usualMs);
  const isNew = ({ worker }: Member): boolean => ranges.every(({ asks }) => !asks.has(worker));
  return usualMs > 0 || evaluators(state).some(isNew) ? Math.max(leaseMs, usualMs) : CEILING_MS;
}

/** Closes the ranges that can be, asks others where that is of use, and makes the result when all are closed. */
function settle(state: TrainerState, atMs: number): Effect[] {
  const { evaluation } = state;
  if (!evaluation) return [];
  const effects: Effect[] = [];
  for (const range of evaluation.ranges) if (!range.isClosed) effects.push(...judge(state, evaluation, range, atMs));
  return evaluation.ranges.every(({ isClosed }) => isClosed)
    ? [...effects, ...conclude(state, evaluation, atMs)]
    : effects;
}

function judge(state: TrainerState, evaluation: OpenEvaluation, range: EvaluationRange, atMs: number): Effect[] {
  const asks = [...range.asks.values()];
  if (asks.some(({ isOpen }) => isOpen)) return [];
  const mayAsk = evaluation.round === state.normaliser.round;
  const others = evaluators(state).filter(({ worker }) => !range.asks.has(worker));
  const claims = asks.flatMap(({ counts }) => counts ?? []);
  if (!range.isDisputed && claims.some((counts) => !agree(counts, claims[0]!))) {
    range.isDisputed = true;
    const workers = [...range.asks].flatMap(([worker, { counts }]) => (counts ? [worker] : []));
    for (const worker of workers) {
      const member = state.members.get(worker);
      if (member) member.isDisputed = true;
    }
    const { round } = evaluation;
    const { firstRow, rows } = range;
    const report: Report = { kind: 'disputed', round, firstRow, rows, workers };
    const asked = mayAsk ? others.flatMap((member) => ask(evaluation, range, member, atMs)) : [];
    if (asked.length > 0) return [{ kind: 'report', report }, ...asked];
    range.isClosed = true;
    return [{ kind: 'report', report }];
  }
  if (range.isDisputed) range.counts = countVotes(state, range);
  else if (claims.length > 0) range.counts = claims[0];
  else if (mayAsk && others.length > 0 && asks.length < MAX_ASKS) {
    const owed = (member: Member): number =>
      evaluation.ranges.filter(({ asks: a }) => a.get(member.worker)?.isOpen).length;
    const next = others.reduce((least, member) => (owed(member) < owed(least) ? member : least));
    return ask(evaluation, range, next, atMs);
  }
  range.isClosed = true;
  return [];
}

/** What more than half of those who were asked say, if they do; the others are noted. */
function countVotes(state: TrainerState, { asks }: EvaluationRange): EvaluationCounts | undefined {
  const claims = [...asks.values()].flatMap(({ counts }) => counts ?? []);
  const right = claims.find((one) => claims.filter((other) => agree(one, other)).length > asks.size / 2);
  if (!right) return undefined;
  for (const [worker, { counts }] of asks) {
    const member = state.members.get(worker);
    if (!member || !counts) continue;
    if (agree(counts, right)) member.isDisputed = false;
    else member.outvoted++;
  }
  return right;
}

/**
 * The result of the ranges that were told, if they are at least half of the rows; else the evaluation begins anew where the adapter
 * has moved on. A loss that is not finite counts where most ranges say so.
 */
function conclude(state: TrainerState, { round, ranges }: OpenEvaluation, atMs: number): Effect[] {
  state.evaluation = undefined;
  const told = ranges.filter(({ counts }) => counts !== undefined);
  const hasLoss = ({ counts }: EvaluationRange): boolean => figuresOf(counts!).loss !== undefined;
  const finite = told.filter(hasLoss);
  const used = finite.length * 2 >= told.length ? finite : told;
  const { devRows } = state.rules;
  const rows = used.reduce((sum, range) => sum + range.rows, 0);
  if (2 * rows < devRows && round !== state.normaliser.round) return startEvaluation(state, atMs);
  const missing = rows < devRows ? [unevaluated(state, devRows - rows, round)] : [];
  if (2 * rows < devRows) return missing;
  const result = evaluationOf(
    round,
    used.map(({ counts }) => counts!),
  );
  const best = noteEvaluation(state.progress, result);
  const figures = figuresOf(result);
  const report: Report = { kind: 'evaluation', round, rows, ...figures, best };
  return [
    { kind: 'append', frames: [{ frame: { $case: 'evaluation', value: result } }] },
    ...missing,
    { kind: 'report', report },
    ...(best ? [{ kind: 'checkpoint', round, best } as const] : []),
    ...consequences(state, figures),
  ];
}

/** What follows from an evaluation beside its result: a warning, and the end of a run that needs no more rounds. */
function consequences(state: TrainerState, figures: Figures): Effect[] {
  const { progress, rules, normaliser } = state;
  if (state.phase === 'training') state.stopReason = reasonToStop(progress, figures, rules.settings);
  if (state.stopReason !== undefined) state.phase = 'finalEvaluation';
  const [evaluations, { startLoss }] = [timesAboveStart(progress), progress];
  if (evaluations === undefined || startLoss === undefined) return [];
  return [{ kind: 'report', report: { kind: 'worse', round: normaliser.round, startLoss, evaluations } }];
}

const unevaluated = (state: TrainerState, rows: number, round = state.normaliser.round): Effect => ({
  kind: 'report',
  report: { kind: 'unevaluated', round, rows },
});
