/** Bugs that a simulation can be given, to see that it finds them. They stand around the cores; the cores know nothing of them. */
import { type TrainerMessage, Welcome_CatchUp } from '../../proto/gen/onebyte.ts';
import type { Effect, Event, TrainerState } from '../../trainer/core/state.ts';

export const PLANTED_BUGS = [
  'broadcast before append',
  'forget the fsync',
  'count duplicates',
  'take stale bytes for fresh ones',
  'skip the digest comparison',
  'forget worker numbers',
  'remake a lost record',
  'skip the snapshot',
  'lease never ends',
  'keep the torn tail',
  'apply a record twice',
] as const;
export type PlantedBug = (typeof PLANTED_BUGS)[number];

/** Spoils the state as a trainer opens its log. */
export function spoilRestored(bug: PlantedBug | undefined, state: TrainerState): void {
  if (bug === 'forget worker numbers') state.numbers.clear();
  if (bug === 'remake a lost record') state.recovery = undefined;
}

/** Spoils the state or the event just before the trainer's core sees it. */
export function spoilEvent(bug: PlantedBug | undefined, state: TrainerState, event: Event): Event {
  if (bug === 'count duplicates') state.accepted.clear();
  if (bug === 'skip the digest comparison') state.ownDigests.clear();
  if (bug === 'lease never ends')
    for (const member of state.members.values()) member.lastHeardMs = 'atMs' in event ? event.atMs : 0;
  if (bug === 'take stale bytes for fresh ones' && event.kind === 'contribution') {
    const { round } = state.normaliser;
    return { ...event, contribution: { ...event.contribution, measuredRound: round } };
  }
  return event;
}

/** Spoils the order in which effects are carried out. */
export function spoilEffects(bug: PlantedBug | undefined, effects: Effect[]): Effect[] {
  if (bug === 'apply a record twice')
    return effects.flatMap((effect) =>
      effect.kind === 'apply' && effect.absorbed.normaliser.round === 41 ? [effect, effect] : [effect],
    );
  if (bug !== 'broadcast before append') return effects;
  const broadcasts = effects.filter(({ kind }) => kind === 'broadcast');
  return [...broadcasts, ...effects.filter(({ kind }) => kind !== 'broadcast')];
}

/** Spoils what a worker hears. */
export function spoilMessage(bug: PlantedBug | undefined, message: TrainerMessage): TrainerMessage {
  const { message: content } = message;
  if (bug !== 'skip the snapshot' || content?.$case !== 'welcome' || content.value.catchUp !== Welcome_CatchUp.SNAPSHOT)
    return message;
  return { message: { $case: 'welcome', value: { ...content.value, catchUp: Welcome_CatchUp.NONE } } };
}
