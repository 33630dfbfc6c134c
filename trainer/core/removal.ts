/** How a member goes: it leaves the log, others evaluate the rows that it owed, and its stream is told why. */
import { restartEvaluationWithout } from './evaluation.ts';
import type { Effect, Member, Refusal, StreamId, TrainerState } from './state.ts';

export const refuse = (stream: StreamId, refusal: Refusal, text: string): Effect[] => [
  { kind: 'refuse', stream, refusal, text },
];

/** Ends the membership and leaves the stream open. */
export function remove(state: TrainerState, member: Member, reason: string): Effect[] {
  const { worker, name } = member;
  state.members.delete(worker);
  if (member.stream !== undefined) state.workerOfStream.delete(member.stream);
  return [
    { kind: 'append', frames: [{ frame: { $case: 'left', value: { worker, reason } } }] },
    { kind: 'report', report: { kind: 'left', worker, name, reason } },
    ...restartEvaluationWithout(state, worker),
  ];
}

/** Ends the membership and, where one is open, the stream. */
export const expel = (state: TrainerState, member: Member, refusal: Refusal, text: string): Effect[] => [
  ...remove(state, member, text),
  ...(member.stream === undefined ? [] : refuse(member.stream, refusal, text)),
];
