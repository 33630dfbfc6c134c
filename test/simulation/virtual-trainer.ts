/** The trainer's shell in a simulation: the real core over a virtual disk, with a crash possible before each effect. */
import { type ReplicaState, replicaDigest } from '../../kernels/replica.ts';
import { LogFrame, type Record, type TrainerMessage } from '../../proto/gen/onebyte.ts';
import { encodeLogFrame } from '../../proto/log-framing.ts';
import { EXIT, type ExitCode } from '../../proto/operating-error.ts';
import { groupAppends } from '../../trainer/core/group-commit.ts';
import { restoreTrainer } from '../../trainer/core/restore.ts';
import type { Effect, Event, Refusal, StreamId, TrainerState } from '../../trainer/core/state.ts';
import { step } from '../../trainer/core/step.ts';
import { LOG_FORMAT, parseRoundLog, recordsOf } from '../../trainer/store/round-log.ts';
import { DiskError, VirtualDisk } from './disk.ts';
import { spoilEffects, spoilEvent, spoilRestored, spoilStep } from './planted-bugs.ts';
import { applyVirtually, copyReplica, moveReplica, startReplica } from './virtual-replica.ts';
import { Watch } from './watch.ts';
import type { World } from './world.ts';

/** Refusals after which a worker tries again. */
const MAY_COME_AGAIN: readonly Refusal[] = ['silent', 'taken', 'busy'];

/** An event as it comes from outside: the trainer adds the time. */
export type Untimed = Event extends infer E ? (E extends { atMs: number } ? Omit<E, 'atMs'> : never) : never;

/** How the trainer reaches its workers. */
export interface TrainerNetwork {
  send(stream: StreamId, message: TrainerMessage): void;
  broadcast(message: TrainerMessage): void;
  end(stream: StreamId, refused: string | undefined): void;
  /** The process is gone, with all streams. */
  endAll(): void;
  /** May the last of `rounds` records be lost on disk? Not if no worker could give it back. */
  mayFlip(rounds: number): boolean;
}

export class VirtualTrainer {
  readonly disk: VirtualDisk;
  state: TrainerState | undefined;
  exit: { exitCode: ExitCode; text: string } | undefined;
  /** Effects until the process dies; undefined: it lives. */
  crashIn: number | undefined;
  /** The clock of this machine is ahead by so much, ms. */
  clockAheadMs = 0;
  pausedUntilMs = 0;
  /** Where the last frame of the log begins. */
  private lastFrame = 0;
  private position = 0;
  private durableRounds = 0;
  private appended: Record[] = [];
  private flipped = false;
  /** Names of the members, where the process was asked to go. */
  private drained: string[] = [];
  private replica: ReplicaState;
  private replays: number[] = [];
  private replayed: ReplicaState | undefined;
  private readonly watch: Watch;
  private readonly waiting: Untimed[] = [];
  private readonly world: World;
  private readonly network: TrainerNetwork;

  constructor(world: World, network: TrainerNetwork) {
    this.world = world;
    this.network = network;
    this.watch = new Watch(world);
    this.disk = new VirtualDisk(world.random);
    this.replica = startReplica(world.rule, world.rules.continuesAdapter);
    this.append([
      { frame: { $case: 'header', value: { format: LOG_FORMAT, runConfig: '', matrices: Buffer.alloc(0) } } },
    ]);
    this.open();
  }

  get nowMs(): number {
    return this.world.clock.nowMs + this.clockAheadMs;
  }

  get isUp(): boolean {
    return this.state !== undefined;
  }

  snapshot(): ReplicaState {
    return copyReplica(this.replica);
  }

  /** Records that the trainer's replica holds. */
  get snapshotRound(): number {
    return this.replica.normaliser.round;
  }

  /** Starts the process on the log that is there. */
  open(): void {
    const { world, disk } = this;
    disk.failNext = undefined;
    const bytes = disk.read();
    const { frames, validBytes } = parseRoundLog(bytes, 'the virtual disk');
    if (world.bug !== 'keep the torn tail') disk.truncate(validBytes);
    this.position = disk.length;
    this.replica = startReplica(world.rule, world.rules.continuesAdapter);
    const records = recordsOf(frames);
    for (const record of records) this.replica = applyVirtually(this.replica, world.rule, record);
    const { issuedRounds } = world.invariants;
    world.invariants.check(
      records.length >= issuedRounds || this.flipped,
      `the log came back with ${records.length} records, ${issuedRounds} were acknowledged`,
    );
    world.invariants.onDropped(this.appended.slice(records.length));
    this.appended = records;
    if (this.flipped)
      world.invariants.onNumbersLost(
        new Set(frames.flatMap(({ frame }) => (frame?.$case === 'joined' ? [frame.value.name] : []))),
      );
    this.flipped = false;
    this.durableRounds = records.length;
    world.invariants.onReplica('a replay of the log', this.replica);
    this.state = restoreTrainer(world.rules, frames, this.replica, this.nowMs);
    spoilRestored(world.bug, this.state);
    this.watch.onOpened(this.state, new Set([...membersOf(frames), ...this.drained]));
    this.drained = [];
    this.append([{ frame: { $case: 'epoch', value: { epoch: this.state.epoch } } }]);
    this.announceDigest();
  }

  /** Takes what came over a stream to the core. `isHonest`: a worker's, not an adversary's. */
  hear(isHonest: boolean, event: Extract<Untimed, { stream: StreamId }>): void {
    this.watch.onStream(event.stream, isHonest);
    this.handle(event);
  }

  /** The machine stops. `flip`: a bit of the last frame turns over while it is off. */
  crash(flip: boolean): void {
    this.state = undefined;
    this.crashIn = undefined;
    this.waiting.length = 0;
    this.disk.crash();
    if (flip && this.lastFrame > 0 && this.network.mayFlip(this.durableRounds)) {
      this.disk.flipBit(this.lastFrame);
      this.flipped = true;
    }
    this.network.endAll();
  }

  /** Hands an event to the core, now or when the process goes on. */
  handle(event: Untimed): void {
    if (!this.state) return;
    if (this.world.clock.nowMs < this.pausedUntilMs) this.waiting.push(event);
    else {
      this.process([...this.waiting.splice(0), event]);
    }
  }

  /** As the real shell: events that wait share one fsync. */
  private process(events: readonly Untimed[]): void {
    const { state, world } = this;
    if (!state) return;
    const asked = events.flatMap((untimed) => {
      const event = { ...untimed, atMs: this.nowMs } as Event;
      const before = this.watch.before(state, event);
      const effects = spoilStep(world.bug, state, event, step(state, spoilEvent(world.bug, state, event)));
      this.watch.after(before, state, event, effects);
      return effects;
    });
    for (const effect of spoilEffects(world.bug, groupAppends(asked))) {
      if (this.crashIn !== undefined && this.crashIn-- <= 0) {
        this.crash(world.random() < 0.2);
        return;
      }
      try {
        this.perform(effect);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        this.crash(false);
        break;
      }
    }
    const { replays } = this;
    this.replays = [];
    for (const round of replays) this.replay(round);
  }

  /** Replays the log, as the real shell does once all that was asked before is carried out. */
  private replay(round: number): void {
    if (!this.state) return;
    let replica = startReplica(this.world.rule, this.world.rules.continuesAdapter);
    let sha256 = replicaDigest(replica);
    for (const record of this.appended) {
      replica = applyVirtually(replica, this.world.rule, record);
      if (replica.normaliser.round === round) sha256 = replicaDigest(replica);
    }
    this.replayed = replica;
    this.process([{ kind: 'logReplayed', round, sha256, normaliser: replica.normaliser }]);
  }

  private perform(effect: Effect): void {
    const { network, world } = this;
    switch (effect.kind) {
      case 'append':
        this.append(effect.frames);
        break;
      case 'send':
        this.noteIssued(effect.message);
        network.send(effect.stream, effect.message);
        break;
      case 'broadcast':
        this.noteIssued(effect.message);
        network.broadcast(effect.message);
        break;
      case 'refuse':
        network.end(effect.stream, MAY_COME_AGAIN.includes(effect.refusal) ? undefined : effect.text);
        break;
      case 'apply':
        this.replica = moveReplica(this.replica, world.rule, effect.absorbed);
        world.invariants.onReplica('the trainer', this.replica);
        if (effect.digest) this.announceDigest();
        return;
      case 'finish':
        this.exit = effect.exitCode === EXIT.drained ? undefined : effect;
        this.drained = [...this.state!.members.values()].flatMap(({ name, isNamed }) => (isNamed ? [name] : []));
        this.state = undefined;
        network.endAll();
        break;
      case 'replayLog':
        this.replays.push(effect.round);
        return;
      case 'takeReplayed':
        this.replica = this.replayed!;
        this.announceDigest();
        return;
      case 'keepAdapter':
      case 'checkpoint':
      case 'report':
        return;
    }
  }

  private append(frames: readonly LogFrame[]): void {
    const { disk, world } = this;
    for (const frame of frames) {
      const bytes = encodeLogFrame(this.position, LogFrame.encode(frame).finish());
      disk.write(bytes);
      this.lastFrame = this.position;
      this.position += bytes.length;
    }
    const isForgotten = world.bug === 'forget the fsync' && frames.some(({ frame }) => frame?.$case === 'record');
    if (!isForgotten) disk.sync();
    for (const { frame } of frames) {
      if (frame?.$case === 'joined') world.invariants.onNamed(frame.value.name, frame.value.worker);
      if (frame?.$case === 'record') {
        world.invariants.onAppended(frame.value, this.durableRounds++);
        this.appended.push(frame.value);
      }
    }
  }

  private announceDigest(): void {
    const { round } = this.replica.normaliser;
    step(this.state!, { kind: 'ownDigest', round, sha256: replicaDigest(this.replica) });
  }

  private noteIssued({ message }: TrainerMessage): void {
    if (message?.$case === 'record') this.world.invariants.onIssued(message.value, this.durableRounds);
  }
}

/** Names of those who were members as the log ended. */
function membersOf(frames: readonly LogFrame[]): string[] {
  const present = new Map<number, string>();
  for (const { frame } of frames)
    if (frame?.$case === 'joined') present.set(frame.value.worker, frame.value.name);
    else if (frame?.$case === 'left') present.delete(frame.value.worker);
  return [...present.values()];
}
