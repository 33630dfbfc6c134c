/** How a member goes: it leaves the log, others evaluate the rows that it owed, and its stream is told why. */
import { withdraw } from './evaluation.ts';
import { refuse } from './notice.ts';
import type { Effect, Member, Refusal, TrainerState } from './state.ts';

/** Ends the membership and leaves the stream open. A number without a contribution that counted is free again. */
export function remove(state: TrainerState, member: Member, reason: string, atMs: number): Effect[] {
  const { worker, name, isNamed } = member;
  state.members.delete(worker);
  state.former.names.delete(name);
  if (member.stream !== undefined) state.workerOfStream.delete(member.stream);
  if (state.numbers.get(name) !== worker) state.heard.delete(worker);
  const left: Effect = { kind: 'append', frames: [{ frame: { $case: 'left', value: { worker, reason } } }] };
  return [
    ...(isNamed ? [left] : []),
    { kind: 'report', report: { kind: 'left', worker, name, reason } },
    ...withdraw(state, worker, atMs),
  ];
}

/** Ends the membership and, where one is open, the stream. */
export const expel = (state: TrainerState, member: Member, refusal: Refusal, text: string, atMs: number): Effect[] => [
  ...remove(state, member, text, atMs),
  ...(member.stream === undefined ? [] : refuse(member.stream, refusal, text)),
];
