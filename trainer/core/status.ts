/** What GetStatus answers from the core's state alone. */
import type { GetStatusResponse, MemberStatus } from '../../proto/gen/onebyte.ts';
import type { Member, TrainerState } from './state.ts';

/** The state of the run and of its members; what only a history knows (times, totals) is left empty. */
export const statusOf = (state: TrainerState): GetStatusResponse => ({
  round: state.normaliser.round,
  rounds: state.rules.rounds,
  gradients: state.gradients,
  members: [...state.members.values()].map(memberStatus),
  state: state.phase === 'done' ? 'ended' : 'training',
  text: '',
  deadlineMs: state.deadlineMs,
  idleFraction: state.idleFraction,
  roundsPerSecond: 0,
  secondsLeft: undefined,
  wireUp: 0,
  wireDown: 0,
  evaluation: undefined,
});

const memberStatus = ({ worker, name, stream, expectedFrom, gradients, clipped, late }: Member): MemberStatus => ({
  worker,
  name,
  active: stream !== undefined,
  gradients,
  clipped,
  late,
  state: stream === undefined ? 'disconnected' : expectedFrom === undefined ? 'joining' : 'active',
  answerMs: undefined,
  contributions: 0,
  missed: 0,
  shard: 0,
  digest: undefined,
});
