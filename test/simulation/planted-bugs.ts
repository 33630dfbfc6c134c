/** Bugs that a simulation can be given, to see that it finds them. They stand around the cores; the cores know nothing of them. */
import { type TrainerMessage, Welcome_CatchUp } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { resumeSecretOf, withProof } from '../../proto/record-proof.ts';
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
  'let one member fill a record',
  'close a full record without a quorum',
  'take more than one contribution of a round',
  'believe any counts',
  'wait for an evaluator for ever',
  'give a name to whoever says it',
  'stop when many say so',
  'take the times of one member for those of all',
  'wait for members that never answer',
  'wait for each newcomer',
  'give numbers away with the hello',
  'take forged records',
  'take those who are back first for all',
  'end memberships with the trainer',
  'keep the last word',
] as const;
export type PlantedBug = (typeof PLANTED_BUGS)[number];

/** Spoils the state as a trainer opens its log. */
export function spoilRestored(bug: PlantedBug | undefined, state: TrainerState): void {
  if (bug === 'forget worker numbers') state.numbers.clear();
  if (bug === 'remake a lost record') state.recovery = undefined;
}

/** Spoils the state or the event just before the trainer's core sees it. */
export function spoilEvent(bug: PlantedBug | undefined, state: TrainerState, event: Event): Event {
  if (bug === 'count duplicates') state.heard.clear();
  if (bug === 'skip the digest comparison') state.ownDigests.clear();
  if (bug === 'lease never ends')
    for (const member of state.members.values()) member.lastHeardMs = 'atMs' in event ? event.atMs : 0;
  spoilTrust(bug, state, event);
  if (bug === 'give a name to whoever says it' && event.kind === 'hello') {
    const holder = [...state.members.values()].find(({ name }) => name === event.hello.name);
    if (!holder) return event;
    const { worker, name, membership } = holder;
    const resumeSecret = resumeSecretOf(state.rules.runSecret, worker, name, membership);
    return { ...event, hello: { ...event.hello, resumeSecret } };
  }
  if (bug === 'take forged records' && event.kind === 'recordGiven')
    return { ...event, record: withProof(state.rules.runSecret, event.record) };
  if (bug === 'take stale bytes for fresh ones' && event.kind === 'contribution') {
    const { round } = state.normaliser;
    return { ...event, contribution: { ...event.contribution, measuredRound: round } };
  }
  return event;
}

/** Spoils what protects the run from its members. */
function spoilTrust(bug: PlantedBug | undefined, state: TrainerState, event: Event): void {
  const members = [...state.members.values()];
  const member = 'stream' in event ? state.members.get(state.workerOfStream.get(event.stream) ?? -1) : undefined;
  if (bug === 'let one member fill a record') state.sharers = 1;
  if (bug === 'wait for members that never answer') for (const one of members) one.credit = 64;
  if (bug === 'wait for each newcomer') state.newcomersCredit = 64;
  if (bug === 'wait for an evaluator for ever')
    for (const { asks } of state.evaluation?.ranges ?? [])
      for (const [worker, { counts, isOpen }] of asks)
        if (isOpen && 'atMs' in event) asks.set(worker, { atMs: event.atMs, counts, isOpen });
  if (event.kind === 'evaluation')
    if (bug === 'believe any counts')
      for (const { asks, firstRow } of state.evaluation?.ranges ?? []) {
        const ask = member && asks.get(member.worker);
        if (ask?.isOpen && firstRow === event.counts.firstRow)
          Object.assign(ask, { counts: event.counts, isOpen: false });
      }
  if (event.kind !== 'contribution' || !member) return;
  const { measuredRound } = event.contribution;
  if (bug === 'close a full record without a quorum' && state.pendingGradients >= state.sharers)
    for (const { worker } of members)
      if (!state.answers.has(worker)) state.answers.set(worker, { ms: 0, gradients: 0 });
  const last = state.heard.get(member.worker);
  if (bug === 'take more than one contribution of a round' && last)
    state.heard.set(member.worker, { ...last, contributions: 0 });
  const openedMs = state.openings.get(measuredRound);
  if (bug === 'take the times of one member for those of all' && openedMs !== undefined)
    for (const one of members) one.arrivals = [...one.arrivals, event.atMs - openedMs].slice(-8);
}

/** Spoils what the core asks for after `event`. */
export function spoilStep(bug: PlantedBug | undefined, state: TrainerState, event: Event, effects: Effect[]): Effect[] {
  if (bug === 'stop when many say so' && event.kind === 'digest') {
    const same = [...(state.deviations.get(event.digest.round)?.values() ?? [])].filter(
      (hex) => hex === Buffer.from(event.digest.sha256).toString('hex'),
    );
    if (same.length > 1 && same.length > state.members.size / 4)
      return [...effects, { kind: 'finish', exitCode: EXIT.durableStore, text: 'many say so' }];
  }
  if (bug === 'take those who are back first for all' && event.kind === 'hello')
    state.former.names.delete(event.hello.name);
  if (bug === 'end memberships with the trainer' && event.kind === 'drain') {
    const workers = [...state.members.values()].flatMap(({ worker, isNamed }) => (isNamed ? [worker] : []));
    const frames = workers.map((worker) => ({
      frame: { $case: 'left' as const, value: { worker, reason: 'drained' } },
    }));
    return [{ kind: 'append', frames }, ...effects];
  }
  if (bug === 'give numbers away with the hello' && event.kind === 'hello') {
    const member = state.members.get(state.workerOfStream.get(event.stream) ?? -1);
    if (!member || member.isNamed) return effects;
    const { worker, name, membership } = member;
    member.isNamed = true;
    state.numbers.set(name, worker);
    return [
      { kind: 'append', frames: [{ frame: { $case: 'joined', value: { worker, name, membership } } }] },
      ...effects,
    ];
  }
  return effects;
}

/** Spoils the order in which effects are carried out. */
export function spoilEffects(bug: PlantedBug | undefined, effects: Effect[]): Effect[] {
  if (bug === 'apply a record twice')
    return effects.flatMap((effect) =>
      effect.kind === 'apply' && effect.absorbed.normaliser.round === 41 ? [effect, effect] : [effect],
    );
  if (bug === 'keep the last word')
    return effects.filter((e) => e.kind !== 'broadcast' || e.message.message?.$case !== 'notice');
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
