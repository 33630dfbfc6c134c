/**
 * Which worker number a hello gets. A name belongs to whoever holds it for as long as its lease runs, and is resumed with
 * the secret of its welcome alone; then anybody may have it, and has to make way for the last who contributed under it. A
 * number is a name's for good from its first contribution that counts: until then it is given again when its member goes. A worker that
 * asks for a number gets it where it is free, and another one where it is not: whoever came first keeps nobody out.
 */
import type { Hello } from '../../proto/gen/onebyte.ts';
import { MAX_WORKERS } from '../../proto/limits.ts';
import { resumeSecretOf, sameBytes } from '../../proto/record-proof.ts';
import { takeOne } from './allowance.ts';
import type { Member, Origin, Refusal, TrainerState } from './state.ts';

/** New names that may come over one connection, and from one address, at once and a second after that. */
const PER_CONNECTION = { atOnce: 1024, perSecond: 1 };
const PER_ADDRESS = { atOnce: 2048, perSecond: 4 };
/** Welcomes of one number: each may bring hundreds of records, and leaves a line where the run is shown. */
const PER_WORKER = { atOnce: 8, perSecond: 1 };

export interface Place {
  readonly worker: number;
  /** The member that the hello resumes. */
  readonly holder?: Member;
  /** A member that has the name, and has not contributed under it: it makes way for the last who did. */
  readonly squatter?: Member | undefined;
  /** The membership that it goes on with; absent: a new one. */
  readonly membership?: number;
  /** The log knows of that membership, and not of its end. */
  readonly isNamed?: boolean;
}

/** Whether `hello` has the secret of that membership of its name. */
export const showsSecret = (
  { rules }: TrainerState,
  { name, resumeSecret }: Hello,
  worker: number,
  membership: number,
): boolean => sameBytes(resumeSecret, resumeSecretOf(rules.runSecret, worker, name, membership));

interface NoPlace {
  readonly refusal: Refusal;
  readonly text: string;
}

/** The place for `hello`, or why it gets none. */
export function placeFor(state: TrainerState, hello: Hello, origin: Origin, atMs: number): Place | NoPlace {
  const place = placeOf(state, hello);
  if ('refusal' in place) return place;
  const isKnown = place.holder !== undefined || state.numbers.has(hello.name);
  const ofOrigin = [
    [`connection ${origin.connection}`, PER_CONNECTION],
    [`address ${origin.address}`, PER_ADDRESS],
  ] as const;
  // Who comes back with its secret has hellos of its own: another one under its name cannot take them.
  const own = place.holder === undefined && place.membership !== undefined ? ` ${place.membership}` : '';
  const askers = isKnown ? ([[`worker ${place.worker}${own}`, PER_WORKER]] as const) : ofOrigin;
  if (takeOne(state.allowances, askers, atMs)) return place;
  const what = isKnown ? `hellos of ${hello.name}` : 'new names from one connection or address';
  return { refusal: 'busy', text: `too many ${what}; come again` };
}

function placeOf(state: TrainerState, hello: Hello): Place | NoPlace {
  const { name, requestedWorker } = hello;
  const holder = memberNamed(state, name);
  const worker = holder?.worker ?? state.numbers.get(name);
  const isAwaited = state.recovery?.awaited.has(name) ?? false;
  const shows = (membership: number): boolean => showsSecret(state, hello, worker!, membership);
  if (holder && shows(holder.membership)) return { worker: holder.worker, holder, membership: holder.membership };
  const last = state.numbers.get(name) === worker ? state.memberships.get(worker!) : undefined;
  if (worker !== undefined && last !== undefined && shows(last))
    return { worker, squatter: holder, membership: last, isNamed: isAwaited };
  if (holder || isAwaited) {
    const { leaseMs } = state.rules.settings;
    const text = `the name ${name} is taken, until ${leaseMs} ms after its worker was last heard; a worker that has --identity goes on at once when it is started again, any other waits or takes another name`;
    return { refusal: 'taken', text };
  }
  if (worker !== undefined) return { worker };
  const isFree = requestedWorker !== undefined && !isGiven(state, requestedWorker);
  const given = isFree ? requestedWorker : nextNumber(state);
  if (given >= MAX_WORKERS)
    return { refusal: 'full', text: `this run has given out its ${MAX_WORKERS} worker numbers` };
  return { worker: given };
}

/** Whether another name has this number. */
const isGiven = ({ members, numbers }: TrainerState, worker: number): boolean =>
  members.has(worker) || [...numbers.values()].includes(worker);

const memberNamed = ({ members, numbers }: TrainerState, name: string): Member | undefined => {
  const known = members.get(numbers.get(name) ?? -1);
  return known ?? [...members.values()].find((member) => member.name === name);
};

/**
 * Above all that were given, since a worker with a smaller one of its own may still come; once the last is given, the smallest that
 * is free. Numbers in records count too: the log may have lost who had them.
 */
function nextNumber({ numbers, heard, members }: TrainerState): number {
  const given = new Set([...numbers.values(), ...heard.keys(), ...members.keys()]);
  let number = [...given].reduce((most, worker) => Math.max(most, worker), -1) + 1;
  if (number >= MAX_WORKERS) for (number = 0; given.has(number); ) number++;
  return number;
}
