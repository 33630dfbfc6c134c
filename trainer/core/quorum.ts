/**
 * Whom the open round waits for, and until when. Members that keep rounds waiting in vain are not waited for any longer:
 * a round that waited in vain for a member costs it WAIT_COST of its credit, an answer in time earns it 1. Below 0 it
 * is left out: until it answers the open round counts it in no quorum, and none waits for it before it has earned its way
 * back. A newcomer has no credit yet: rounds wait for it, once before it answers, on the credit of all newcomers together, which is
 * spent and earned in the same way, so that new names are worth no more rounds than one member.
 * At most a third of the members are left out, so that those who answer first are never alone among themselves, and
 * none of those who have answered: a member that answers late keeps nobody waiting for one that never does.
 */
import { usualDeadlineMs } from './deadline.ts';
import type { Member, TrainerState } from './state.ts';

export const MAX_CREDIT = 64;
/** Three rounds in a row, or one of 33 for good, are more than a member has. */
const WAIT_COST = 32;

type Trust = Pick<Member, 'credit' | 'isNewcomer'>;
/** How far rounds wait for who was there as the run began, or before the trainer was started again. */
export const FULL_TRUST: Trust = { credit: MAX_CREDIT, isNewcomer: false };
/** The same for who came since: 32 answers in time make a member as any other. */
export const NO_TRUST: Trust = { credit: -WAIT_COST, isNewcomer: true };

/** Members that have caught up. */
export const readyMembers = ({ members }: TrainerState): Member[] =>
  [...members.values()].filter(({ expectedFrom }) => expectedFrom !== undefined);

/** Members that caught up before the open round, or, when they are all gone, those who were to count from the next round on. */
export function dueMembers(state: TrainerState): Member[] {
  const { round } = state.normaliser;
  const ready = readyMembers(state);
  const due = ready.filter(({ expectedFrom }) => expectedFrom! <= round);
  return due.length > 0 ? due : ready;
}

/** Members that have a say in what is true: those with gradients in a record, one for each connection. */
export function voices({ members, contributors }: TrainerState): Member[] {
  const ofConnection = new Map<string, Member>();
  for (const member of members.values()) {
    const { connection } = member.origin;
    if (contributors.has(member.worker) && !ofConnection.has(connection)) ofConnection.set(connection, member);
  }
  return [...ofConnection.values()];
}

/** The due members less those who are left out: the open round closes with their answers, or a quorum of them. */
export function expectedMembers(state: TrainerState): Member[] {
  const due = dueMembers(state);
  if (state.rules.settings.quorum === 'all') return due;
  const out = missingMembers(state, due).filter((member) => !isTrusted(state, member));
  if (out.length === 0) return due;
  out.sort((a, b) => a.credit - b.credit || a.worker - b.worker);
  const left = new Set(out.slice(0, Math.floor(due.length / 3)));
  return due.filter((member) => !left.has(member));
}

/** Whether a round may wait for a member. A newcomer that kept one waiting has no trust until it answers. */
const isTrusted = ({ newcomersCredit }: TrainerState, { credit, isNewcomer }: Member): boolean =>
  credit >= 0 || (isNewcomer && newcomersCredit >= 0 && credit > -MAX_CREDIT);

/** Those of `members` who have not answered the open round. */
export const missingMembers = (state: TrainerState, members: readonly Member[] = expectedMembers(state)): Member[] =>
  members.filter(({ worker }) => !state.answers.has(worker));

/** Names of members of before a restart beside `members`: while their leases run they count in a quorum as those who are back do. */
function awayOf({ former, rules: { settings } }: TrainerState, members: readonly Member[]): string[] {
  if (settings.quorum === 'all' || former.names.size === 0) return [];
  const back = new Set(members.map(({ name }) => name));
  return [...former.names].filter((name) => !back.has(name));
}

/** The open round closes without the answer of these members. */
export function chargeFor(state: TrainerState, missing: readonly Member[]): void {
  for (const member of missing) member.credit = Math.max(-MAX_CREDIT, member.credit - WAIT_COST);
  const cost = missing.some(({ isNewcomer }) => isNewcomer) ? WAIT_COST : -1;
  state.newcomersCredit = Math.min(MAX_CREDIT, Math.max(-WAIT_COST, state.newcomersCredit - cost));
}

/** A member's first answer to a round came `ms` after the round was open to it. */
export function creditFor({ deadlineMs }: TrainerState, member: Member, ms: number): void {
  if (ms <= deadlineMs) member.credit = Math.min(MAX_CREDIT, member.credit + 1);
  if (member.credit >= 0) member.isNewcomer = false;
}

/** Answers without which a round of `members` members does not close. */
export const quorumOf = ({ rules: { settings } }: TrainerState, members: number): number =>
  settings.quorum === 'all' ? members : Math.max(1, Math.ceil(settings.quorum * members));

/** When the open round closes with a quorum, as far as it can be told now, ms after its opening. */
export function deadlineOf({ members, rules: { settings } }: TrainerState): number {
  const { deadlineFloorMs, deadlineCeilingMs } = settings;
  const usual = usualDeadlineMs([...members.values()].map(({ arrivals }) => arrivals)) ?? deadlineCeilingMs;
  return Math.min(deadlineCeilingMs, Math.max(deadlineFloorMs, usual));
}

/** Why the open round can't close at `atMs`; undefined when it can. */
export function reasonToWait(state: TrainerState, atMs: number): string | undefined {
  const { settings } = state.rules;
  const { round } = state.normaliser;
  const due = dueMembers(state);
  if (round === 0 && due.length < settings.startWorkers)
    return `${due.length} of ${settings.startWorkers} workers are ready to start`;
  if (due.length === 0) return 'no worker is ready';
  const members = expectedMembers(state);
  const missing = missingMembers(state, members);
  state.stillMissing = missing.length;
  const away = awayOf(state, due);
  const quorum = quorumOf(state, members.length + away.length);
  if (missing.length === 0 && members.length >= quorum) return undefined;
  const names = [...missing.map(({ name }) => name), ...away];
  const waitingFor = `round ${round} waits for ${names.length} of ${members.length + away.length} workers (${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''})`;
  if (settings.quorum === 'all') return waitingFor;
  const isOver = atMs - state.openedMs >= state.deadlineMs;
  if (members.length - missing.length >= quorum) return isOver ? undefined : waitingFor;
  // Where those who were there as the round opened do not answer, those who came since may do.
  const ready = readyMembers(state);
  const answered = ready.filter(({ worker }) => state.answers.has(worker)).length;
  const least = quorumOf(state, ready.length + awayOf(state, ready).length);
  return isOver && answered >= least ? undefined : `${waitingFor}; ${quorum} must answer`;
}
