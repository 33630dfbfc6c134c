/** A member that tries one attack after another until it is told to leave, through every end of the trainer. */
import { setTimeout as delay } from 'node:timers/promises';
import seedrandom from 'seedrandom';
import type { TrainerMessage } from '../../proto/gen/onebyte.ts';
import { ATTACKS } from './attacks.ts';
import { HostilePeer } from './hostile-peer.ts';

/** Wait before it comes again where it was refused or the trainer was away, ms. */
const RETRY_MS = 300;

export interface HostileMemberOptions {
  readonly name: string;
  readonly address: string;
  /** Names of the honest workers. */
  readonly honest: readonly string[];
  /** Number of the attack that it begins with; the others follow in their order. */
  readonly first: number;
  /** How long one attack goes on, ms. */
  readonly turnMs: number;
  readonly onTurn?: (attack: string) => void;
  /** What it is told, the welcome too. */
  readonly onMessage?: (message: TrainerMessage['message']) => void;
  /** It leaves with it. */
  readonly signal: AbortSignal;
}

/** Resolves when it has left. */
export async function hostileMember(options: HostileMemberOptions): Promise<void> {
  const peer = new HostilePeer(options.address);
  const random = seedrandom(`hostile/${options.name}`);
  const memory: Memory = { secret: Buffer.alloc(0) };
  for (let turn = options.first; !options.signal.aborted; turn++) {
    const [attack, act] = ATTACKS[turn % ATTACKS.length]!;
    options.onTurn?.(attack);
    // A signal of AbortSignal.timeout that nothing but AbortSignal.any holds is collected before it fires.
    const turnOver = new AbortController();
    const timer = setTimeout(() => turnOver.abort(), options.turnMs);
    const over = AbortSignal.any([options.signal, turnOver.signal]);
    while (!over.aborted) {
      await live(options, peer, memory, random, act, over).catch(() => {});
      // It was refused, the trainer is away, or its turn is over.
      if (!over.aborted) await delay(RETRY_MS);
    }
    clearTimeout(timer);
  }
  peer.close();
}

interface Memory {
  /** Of its last welcome. */
  secret: Buffer;
}

/** One membership. @throws where there is no welcome */
async function live(
  { name, honest, onMessage, signal }: HostileMemberOptions,
  peer: HostilePeer,
  memory: Memory,
  random: () => number,
  act: (typeof ATTACKS)[number][1],
  over: AbortSignal,
): Promise<void> {
  const { directions } = (await peer.config()).learning;
  const member = await peer.joinReady(name, { resumeSecret: memory.secret });
  memory.secret = Buffer.from(member.welcome.resumeSecret);
  const scene = { peer, member, honest, directions, random };
  const welcome = { $case: 'welcome', value: member.welcome } as const;
  const end = (): void => {
    if (signal.aborted) member.send({ $case: 'leave', value: { reason: 'it has tried all it can' } });
    member.end();
  };
  over.addEventListener('abort', end);
  if (over.aborted) end();
  onMessage?.(welcome);
  act(scene, welcome);
  await member.listen((message) => {
    onMessage?.(message);
    act(scene, message);
  });
  over.removeEventListener('abort', end);
}
