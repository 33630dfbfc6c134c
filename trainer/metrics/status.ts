/** What GetStatus answers: where the run stands by the core's state, and what its history knows of the members. */
import type { GetStatusResponse, MemberStatus } from '../../proto/gen/onebyte.ts';
import type { Member, TrainerState } from '../core/state.ts';
import { newRow, pace, type RunHistory } from './history.ts';

export function statusOf(state: TrainerState, history: RunHistory): GetStatusResponse {
  const last = history.evaluations.at(-1);
  const { wireUp, wireDown } = history.totals;
  return {
    round: state.normaliser.round,
    rounds: state.rules.rounds,
    gradients: state.gradients,
    members: [...state.members.values()].map((member) => memberStatus(member, history)),
    state: state.phase === 'done' ? 'ended' : history.state,
    text: history.text,
    deadlineMs: state.deadlineMs,
    idleFraction: state.idleFraction,
    ...pace(history),
    wireUp,
    wireDown,
    evaluation: last && {
      round: last.round,
      loss: last.loss,
      lossPerToken: last.lossPerToken,
      accuracy: last.accuracy,
    },
    trainingLoss: history.recent.at(-1)?.trainingLoss,
  };
}

function memberStatus({ worker, name, stream, computesOn }: Member, history: RunHistory): MemberStatus {
  const row = history.workers.get(worker) ?? newRow(worker, history.run?.shards);
  const { state, shard, answerMs, gradients, clipped, contributions, late, missed, digest, privacy } = row;
  const counts = { gradients, clipped, contributions, late, missed };
  return { worker, name, active: stream !== undefined, state, shard, computesOn, answerMs, ...counts, digest, privacy };
}
