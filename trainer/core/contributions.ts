/** What a member may add to the open record: its fair share of the gradients, each direction once, one contribution a round. */
import { isDecodable } from '../../kernels/learning-rule.ts';
import { type Contribution, Notice_Kind } from '../../proto/gen/onebyte.ts';
import { contributionsPerRound, MAX_DIRECTION_INDEX } from '../../proto/limits.ts';
import { withArrival } from './deadline.ts';
import { refuse, tell } from './notice.ts';
import { creditFor, deadlineOf, dueMembers } from './quorum.ts';
import type { Effect, Member, TrainerState } from './state.ts';

/** Takes a contribution in: counted, late, or not heard at all. `isAnswered`: the open round may wait for one less. */
export function onContribution(
  state: TrainerState,
  member: Member,
  c: Contribution,
  atMs: number,
): { effects: Effect[]; isAnswered: boolean } {
  const ignored = { effects: [], isAnswered: false };
  if (member.claim) return ignored;
  const problem = contributionProblem(state, member, c);
  if (problem) return { effects: refuse(member.stream!, 'invalid', problem), isAnswered: false };
  if (state.phase !== 'training' || member.expectedFrom === undefined || !isNext(state, member, c)) return ignored;
  note(state, member, c, atMs);
  const { round } = state.normaliser;
  const staleness = round - c.measuredRound;
  if (!isDecodable(state.normaliser, staleness))
    return { effects: tooLate(member, c.measuredRound, round), isAnswered: false };
  const before = state.answers.get(member.worker);
  const gradientBytes = c.gradientBytes.subarray(0, roomFor(state, member));
  state.answers.set(member.worker, {
    ms: before?.ms ?? atMs - state.openedMs,
    gradients: (before?.gradients ?? 0) + gradientBytes.length,
  });
  const isAnswered = before === undefined;
  if (gradientBytes.length === 0) return { effects: tooLate(member, c.measuredRound, round), isAnswered };
  state.pending.push({ staleness, worker: member.worker, firstDirection: c.firstDirection, gradientBytes });
  state.pendingGradients += gradientBytes.length;
  return { effects: nameFor(state, member), isAnswered };
}

/** What is wrong with a contribution whoever sent it; undefined when it may count. */
function contributionProblem({ rules, normaliser }: TrainerState, member: Member, c: Contribution): string | undefined {
  const { directions } = rules;
  const { round } = normaliser;
  const who = `contribution of worker ${member.worker}`;
  const { measuredRound, firstDirection, gradientBytes } = c;
  if (gradientBytes.length < 1 || gradientBytes.length > directions)
    return `${who}: ${gradientBytes.length} gradient bytes, expected 1…${directions}`;
  if (measuredRound > round) return `${who} was measured in round ${measuredRound}; round ${round} is open`;
  if (firstDirection + gradientBytes.length > MAX_DIRECTION_INDEX)
    return `${who} ends at direction ${firstDirection + gradientBytes.length}, expected at most ${MAX_DIRECTION_INDEX}`;
  if (gradientBytes.includes(0xff)) return `${who} holds byte 0xff, which means nothing`;
  return undefined;
}

/**
 * Contributions of a worker come in ascending (measured round, first direction), do not overlap, and are no more than may
 * be of one measured round. One that is not as it should be was counted before, or is more than a worker has to say.
 */
function isNext({ heard, rules }: TrainerState, { worker }: Member, c: Contribution): boolean {
  const last = heard.get(worker);
  if (!last || c.measuredRound > last.measuredRound) return true;
  const most = contributionsPerRound(rules.learning.maxStaleness);
  return c.measuredRound === last.measuredRound && c.firstDirection >= last.nextDirection && last.contributions < most;
}

/** Remembers the contribution's place, and when the first one of its round came. */
function note(state: TrainerState, member: Member, c: Contribution, atMs: number): void {
  const last = state.heard.get(member.worker);
  const isFirst = last?.measuredRound !== c.measuredRound;
  state.heard.set(member.worker, {
    measuredRound: c.measuredRound,
    nextDirection: c.firstDirection + c.gradientBytes.length,
    contributions: isFirst ? 1 : last.contributions + 1,
  });
  const openedMs = state.openings.get(c.measuredRound);
  if (!isFirst || openedMs === undefined) return;
  const ms = atMs - Math.max(openedMs, member.readyMs);
  member.arrivals = withArrival(member.arrivals, ms);
  // As long as nobody's times are known the ceiling holds: as soon as they are, it need not.
  if (state.deadlineMs === state.rules.settings.deadlineCeilingMs) state.deadlineMs = deadlineOf(state);
  creditFor(state, member, ms);
}

/**
 * Gradient bytes that `member` may still add to the open record: what is left of its share, and, where it came after the
 * round was opened, no more than the shares of those who were there leave.
 */
function roomFor(state: TrainerState, member: Member): number {
  const share = Math.max(1, Math.floor(state.rules.gradientsPerRecord / state.sharers));
  const unused = ({ worker }: Member): number => Math.max(0, share - (state.answers.get(worker)?.gradients ?? 0));
  const left = state.rules.gradientsPerRecord - state.pendingGradients;
  if (member.expectedFrom! <= state.normaliser.round) return Math.min(unused(member), left);
  const others = dueMembers(state).filter((due) => due !== member);
  return Math.max(
    0,
    Math.min(
      unused(member),
      others.reduce((sum, due) => sum - unused(due), left),
    ),
  );
}

/** With its first contribution that counts a worker has its number for good, and the log knows of its membership. */
function nameFor(state: TrainerState, member: Member): Effect[] {
  const { worker, name, membership, isNamed } = member;
  if (isNamed) return [];
  member.isNamed = true;
  state.numbers.set(name, worker);
  state.memberships.set(worker, membership);
  return [{ kind: 'append', frames: [{ frame: { $case: 'joined', value: { worker, name, membership } } }] }];
}

function tooLate({ worker, stream }: Member, measuredRound: number, round: number): Effect[] {
  const text = `measured in round ${measuredRound}; round ${round} is open`;
  return [
    tell(stream!, Notice_Kind.LATE, text),
    { kind: 'report', report: { kind: 'late', worker, measuredRound, round } },
  ];
}
