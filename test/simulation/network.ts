/** Streams between workers and the trainer: in order each, late, cut, stalled by partitions, and ended at one side first. */
import type { TrainerMessage, WorkerMessage } from '../../proto/gen/onebyte.ts';
import type { Origin, StreamId } from '../../trainer/core/state.ts';
import type { Adversary, HostileNetwork, HostileStream } from './adversary.ts';
import type { TrainerNetwork, VirtualTrainer } from './virtual-trainer.ts';
import type { VirtualWorker, WorkerNetwork } from './virtual-worker.ts';
import { CONFIG_SHA256, type World } from './world.ts';

interface Stream {
  readonly id: StreamId;
  /** Whose it is: the machine, its partitions, and what happens there. */
  readonly peer: { readonly name: string; partitionedUntilMs: number };
  readonly onMessage: (message: TrainerMessage) => void;
  /** The trainer's side has ended. `refused`: what it said. */
  readonly onEnd: (refused: string | undefined) => void;
  greeted: boolean;
  /** The trainer gave it a welcome: broadcasts reach it. */
  welcome: boolean;
  /** Either side may be gone while the other has not heard of it. */
  workerGone: boolean;
  trainerGone: boolean;
  lastUpMs: number;
  lastDownMs: number;
}

/** All streams of a machine come over one connection. */
const originOf = (machine: string): Origin => ({ connection: machine, address: machine });

export class VirtualNetwork implements WorkerNetwork, HostileNetwork {
  trainer: VirtualTrainer | undefined;
  readonly workers: VirtualWorker[] = [];
  private readonly world: World;
  private readonly streams = new Map<StreamId, Stream>();
  private readonly streamOf = new Map<VirtualWorker, Stream>();
  private nextStream = 1;

  constructor(world: World) {
    this.world = world;
  }

  connect(worker: VirtualWorker): void {
    const { session } = worker.state;
    this.cross(worker, () => {
      if (!this.isAsking(worker, session)) return;
      if (!this.trainer?.isUp) return this.lose(worker, session, 'no trainer');
      const stream = this.newStream(
        worker,
        (message) => worker.handle({ kind: 'message', atMs: this.world.clock.nowMs, message }),
        (refused) => this.endAtWorker(worker, session, refused),
      );
      this.streamOf.set(worker, stream);
      const terms = {
        runConfigSha256: CONFIG_SHA256,
        directions: worker.directions,
        maxStaleness: this.world.rule.maxStaleness,
        computesOn: 'cpu',
        isPrivate: false,
      };
      worker.handle({ kind: 'opened', atMs: this.world.clock.nowMs, terms });
    });
  }

  private newStream(peer: Stream['peer'], onMessage: Stream['onMessage'], onEnd: Stream['onEnd']): Stream {
    const id = this.nextStream++;
    const ends = { greeted: false, welcome: false, workerGone: false, trainerGone: false };
    const stream: Stream = { id, peer, onMessage, onEnd, ...ends, lastUpMs: 0, lastDownMs: 0 };
    this.streams.set(id, stream);
    return stream;
  }

  /** An adversary's stream; undefined where there is no trainer. */
  open(
    adversary: Adversary,
    onMessage: (message: TrainerMessage) => void,
    onEnd: () => void,
  ): HostileStream | undefined {
    if (!this.trainer?.isUp) return undefined;
    const stream = this.newStream(adversary, onMessage, onEnd);
    return {
      send: (message) => this.sendUp(stream, message),
      close: () => {
        stream.workerGone = true;
        this.world.clock.at(this.arrival(adversary, stream.lastUpMs), () => this.closeAtTrainer(stream));
        onEnd();
      },
    };
  }

  send(worker: VirtualWorker, message: NonNullable<WorkerMessage['message']>): void {
    const stream = this.streamOf.get(worker);
    if (!stream) return;
    const isHello = message.$case === 'hello';
    this.world.invariants.check(
      isHello !== stream.greeted,
      `${worker.name} says ${message.$case} where a hello stands`,
    );
    stream.greeted = true;
    this.sendUp(stream, message);
  }

  private sendUp(stream: Stream, message: NonNullable<WorkerMessage['message']>): void {
    stream.lastUpMs = this.arrival(stream.peer, stream.lastUpMs);
    this.world.clock.at(stream.lastUpMs, () => {
      if (!stream.trainerGone) this.deliverUp(stream, message);
    });
  }

  private deliverUp({ id: stream, peer }: Stream, message: NonNullable<WorkerMessage['message']>): void {
    const { trainer } = this;
    const isHonest = this.workers.some((worker) => worker === peer);
    switch (message.$case) {
      case 'hello':
        trainer?.hear(isHonest, {
          kind: 'hello',
          stream,
          origin: originOf(peer.name.split('.')[0]!),
          hello: message.value,
        });
        break;
      case 'contribution':
        trainer?.hear(isHonest, { kind: 'contribution', stream, contribution: message.value });
        break;
      case 'evaluation':
        trainer?.handle({ kind: 'evaluation', stream, counts: message.value });
        break;
      case 'digest':
        trainer?.handle({ kind: 'digest', stream, digest: message.value });
        break;
      case 'recordGiven':
        trainer?.handle({ kind: 'recordGiven', stream, record: message.value });
        break;
      case 'heartbeat':
        trainer?.handle({ kind: 'heartbeat', stream, heartbeat: message.value });
        break;
      case 'leave':
        trainer?.handle({ kind: 'leave', stream, reason: message.value.reason });
        break;
    }
  }

  /** The worker's side is gone at once; the trainer hears of it when it may. */
  hangUp(worker: VirtualWorker): void {
    const stream = this.streamOf.get(worker);
    if (!stream) return;
    this.streamOf.delete(worker);
    stream.workerGone = true;
    const { clock, random } = this.world;
    const silentMs = random() < 0.5 ? 0 : this.world.between(0, 8_000);
    clock.at(this.arrival(worker, stream.lastUpMs) + silentMs, () => this.closeAtTrainer(stream));
  }

  private closeAtTrainer(stream: Stream): void {
    if (stream.trainerGone) return;
    stream.trainerGone = true;
    this.streams.delete(stream.id);
    this.trainer?.handle({ kind: 'closed', stream: stream.id });
  }

  fetchSnapshot(worker: VirtualWorker): void {
    const { session } = worker.state;
    this.cross(worker, () => {
      if (session !== worker.state.session) return;
      if (!this.trainer?.isUp) return this.lose(worker, session, 'no trainer');
      const replica = this.trainer.snapshot();
      this.cross(worker, () => {
        if (session === worker.state.session && worker.isUp) worker.onSnapshot(replica);
      });
    });
  }

  private sendDown(stream: Stream, message: TrainerMessage): void {
    stream.lastDownMs = this.arrival(stream.peer, stream.lastDownMs);
    this.world.clock.at(stream.lastDownMs, () => {
      if (!stream.workerGone) stream.onMessage(message);
    });
  }

  /** The network as the trainer sees it. */
  get ofTrainer(): TrainerNetwork {
    return {
      send: (stream, message) => this.sendTo(stream, message),
      broadcast: (message) => this.broadcast(message),
      end: (stream, refused) => this.end(stream, refused),
      endAll: () => this.endAll(),
      mayFlip: (rounds) => this.mayFlip(rounds),
    };
  }

  private sendTo(id: StreamId, message: TrainerMessage): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    if (message.message?.$case === 'welcome') stream.welcome = true;
    this.sendDown(stream, message);
  }

  private broadcast(message: TrainerMessage): void {
    for (const stream of this.streams.values()) if (stream.welcome) this.sendDown(stream, message);
  }

  private end(id: StreamId, refused: string | undefined): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    stream.trainerGone = true;
    this.streams.delete(id);
    this.endAtPeer(stream, refused);
  }

  private endAll(): void {
    for (const id of [...this.streams.keys()]) this.end(id, undefined);
  }

  private mayFlip(rounds: number): boolean {
    if (this.world.invariants.issuedRounds < rounds) return true;
    const mayGive = this.workers.some(
      (worker) =>
        worker.isReachable &&
        worker.crashIn === undefined &&
        worker.corruptedAt === undefined &&
        worker.state.recent.at(-1)?.round === rounds - 1,
    );
    if (mayGive) this.world.quietUntilMs = this.world.clock.nowMs + 15_000;
    return mayGive;
  }

  /** Whether the worker has a stream with a welcome, and has not heard of its end. */
  isJoined(worker: VirtualWorker): boolean {
    return this.streamOf.get(worker)?.welcome === true;
  }

  /** Cuts a worker's stream: it hears of it now. */
  reset(worker: VirtualWorker): void {
    const stream = this.streamOf.get(worker);
    if (stream) this.endAtPeer(stream, undefined);
  }

  private endAtPeer(stream: Stream, refused: string | undefined): void {
    stream.lastDownMs = this.arrival(stream.peer, stream.lastDownMs);
    this.world.clock.at(stream.lastDownMs, () => {
      if (!stream.workerGone) stream.onEnd(refused);
    });
  }

  private endAtWorker(worker: VirtualWorker, session: number, refused: string | undefined): void {
    if (!worker.isUp) return;
    this.hangUp(worker);
    if (refused === undefined) this.lose(worker, session, 'the stream ended');
    else worker.handle({ kind: 'refused', text: refused });
  }

  private lose(worker: VirtualWorker, session: number, reason: string): void {
    if (session !== worker.state.session) return;
    worker.handle({ kind: 'lost', atMs: this.world.clock.nowMs, reason, jitter: this.world.random() });
  }

  private readonly isAsking = (worker: VirtualWorker, session: number): boolean =>
    worker.isUp && worker.state.session === session && worker.state.phase === 'connecting';

  /** When something sent now arrives: after what was sent before it, and not through a partition. */
  private arrival({ partitionedUntilMs }: Stream['peer'], lastMs: number): number {
    const { clock } = this.world;
    const delay = this.world.random() < 0.02 ? this.world.between(10, 300) : this.world.between(1, 10);
    return Math.max(lastMs, Math.max(clock.nowMs, partitionedUntilMs) + delay);
  }

  private cross(worker: VirtualWorker, run: () => void): void {
    this.world.clock.at(this.arrival(worker, 0), run);
  }
}
