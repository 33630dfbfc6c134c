/**
 * How a trainer ends: it tells its members why, and where the run is done it stays for those who could not hear it yet. They
 * may come back and catch up as long as their leases run; whoever is told hangs up.
 */
import { type Notice, Notice_Kind } from '../../proto/gen/onebyte.ts';
import { EXIT, type ExitCode } from '../../proto/operating-error.ts';
import { showsSecret } from './names.ts';
import { notice } from './notice.ts';
import type { Effect, Event, StreamId, TrainerState } from './state.ts';

/** What the members are told as the trainer ends, and every hello since. */
export interface LastWord extends Notice {
  readonly exitCode: ExitCode;
  /** Members that were away or had not caught up, and the streams of those who are back. */
  readonly unheard: Map<number, StreamId | undefined>;
}

/**
 * The trainer's last effects. The members are told; where the run is over they leave the log too, so that nobody waits for them when it is
 * opened again. Those of a trainer that drains come back to the next, which waits for them as after any restart.
 */
export function finish(state: TrainerState, exitCode: ExitCode, kind: Notice_Kind, text: string): Effect[] {
  const members = kind === Notice_Kind.RUN_DONE ? [...state.members.values()] : [];
  const behind = members.filter(({ stream, expectedFrom }) => stream === undefined || expectedFrom === undefined);
  const unheard = new Map(behind.map(({ worker, stream }) => [worker, stream]));
  state.phase = 'done';
  state.lastWord = { kind, text, exitCode, unheard };
  const frames = [...state.members.keys()].map((worker) => ({
    frame: { $case: 'left' as const, value: { worker, reason: text } },
  }));
  const isOver = exitCode !== EXIT.drained && exitCode !== EXIT.durableStore;
  const leaves: Effect[] = isOver && frames.length > 0 ? [{ kind: 'append', frames }] : [];
  const reason = `stays for ${behind.length} workers that are to hear that the run is done, at most for a lease (${behind[0]?.name}, …)`;
  const last: Effect =
    behind.length > 0 ? { kind: 'report', report: { kind: 'waiting', reason } } : end(state.lastWord);
  return [...leaves, { kind: 'broadcast', message: notice(kind, text) }, last];
}

const end = ({ exitCode, text }: LastWord): Effect => ({ kind: 'finish', exitCode, text });

/** After its last word the trainer ends once those it stays for have heard it and hung up, or their leases have run out. */
export function stay(state: TrainerState, event: Event): Effect[] {
  const { rules, members, lastWord } = state;
  if (!lastWord || lastWord.unheard.size === 0) return [];
  const { unheard } = lastWord;
  if (event.kind === 'hello') {
    const member = members.get(state.numbers.get(event.hello.name) ?? -1);
    if (member && unheard.has(member.worker) && showsSecret(state, event.hello, member.worker, member.membership))
      unheard.set(member.worker, event.stream);
  }
  for (const [worker, stream] of unheard) {
    const isTold = event.kind === 'closed' && event.stream === stream;
    const silentMs = event.kind === 'tick' ? event.atMs - members.get(worker)!.lastHeardMs : 0;
    if (isTold || silentMs > rules.settings.leaseMs) unheard.delete(worker);
  }
  return unheard.size === 0 ? [end(lastWord)] : [];
}
