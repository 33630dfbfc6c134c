/** A worker process in a simulation: the real core, a fake compute that takes virtual time, one stream at most. */
import { type ReplicaState, replicaDigest } from '../../kernels/replica.ts';
import type { WorkerMessage } from '../../proto/gen/onebyte.ts';
import { DIGEST_EVERY } from '../../proto/limits.ts';
import type { ExitCode } from '../../proto/operating-error.ts';
import {
  initialWorker,
  type Task,
  type TaskResult,
  type WorkerEffect,
  type WorkerEvent,
  type WorkerState,
} from '../../worker/core/state.ts';
import { step } from '../../worker/core/step.ts';
import { spoilMessage } from './planted-bugs.ts';
import { applyVirtually, copyReplica, measureVirtually, startReplica } from './virtual-replica.ts';
import type { World } from './world.ts';

/** Rounds after which a damaged replica is found out: two digests of it have been compared, and the answer had half as long to come. */
const NOTICED_ROUNDS = 2.5 * DIGEST_EVERY;
/** The same where the rounds came all at once, behind a pause or a partition: the answer comes after them, virtual ms. */
const NOTICED_MS = 2_000;

/** How a worker reaches the trainer. */
export interface WorkerNetwork {
  connect(worker: VirtualWorker): void;
  send(worker: VirtualWorker, message: NonNullable<WorkerMessage['message']>): void;
  hangUp(worker: VirtualWorker): void;
  fetchSnapshot(worker: VirtualWorker): void;
}

export class VirtualWorker {
  /** A worker that does not keep its secret has another name in each life, as one without `--name` has. */
  name: string;
  state: WorkerState;
  exit: ExitCode | undefined;
  isUp = true;
  pausedUntilMs = 0;
  partitionedUntilMs = 0;
  /** The process dies before so many more effects. */
  crashIn: number | undefined;
  /** Round at which the memory of this replica was damaged. */
  corruptedAt: number | undefined;
  /** A file that outlives the process holds the secret of its last welcome. */
  private readonly keepsSecret: boolean;
  private secret: Buffer = Buffer.alloc(0);
  /** The last round that it applied to catch up. */
  private caughtUpAt = 0;
  private replica: ReplicaState;
  private life = 0;
  /** K. */
  readonly directions: number;
  private readonly slowness: number;
  private readonly world: World;
  private readonly network: WorkerNetwork;

  constructor(world: World, index: number, network: WorkerNetwork) {
    this.world = world;
    this.network = network;
    this.name = `w${index}`;
    this.keepsSecret = index % 2 === 0;
    this.directions = index % 4 === 1 ? 2 : 1;
    this.slowness = world.between(0.5, 2);
    this.replica = startReplica(world.rule, false);
    this.state = this.newState();
  }

  private newState(): WorkerState {
    const resumeSecret = this.keepsSecret ? this.secret : Buffer.alloc(0);
    const rules = { name: this.name, requestedWorker: undefined, resumeSecret, giveUpMs: 600_000 };
    return initialWorker(rules, this.world.clock.nowMs);
  }

  /** Starts the process, without a memory of what was. */
  start(): void {
    this.life++;
    this.isUp = true;
    this.exit = undefined;
    if (!this.keepsSecret && this.world.adversaries > 0) this.name = `${this.name.split('.')[0]}.${this.life}`;
    this.corruptedAt = undefined;
    this.crashIn = undefined;
    this.replica = startReplica(this.world.rule, false);
    this.state = this.newState();
    this.handle({ kind: 'start' });
  }

  crash(): void {
    this.isUp = false;
    this.life++;
    this.network.hangUp(this);
  }

  /** Flips the lowest bit of one element of θ. */
  corrupt(): void {
    const { theta, normaliser } = this.replica;
    const bits = new Int32Array(theta.buffer, theta.byteOffset, theta.length);
    bits[this.world.below(theta.length)]! ^= 1;
    this.corruptedAt = normaliser.round;
  }

  /** True when the process runs and is not cut off. */
  get isReachable(): boolean {
    const { nowMs } = this.world.clock;
    return this.isUp && this.exit === undefined && nowMs >= this.pausedUntilMs && nowMs >= this.partitionedUntilMs;
  }

  handle(event: WorkerEvent): void {
    const { clock, bug } = this.world;
    const { life } = this;
    if (clock.nowMs < this.pausedUntilMs) {
      clock.at(this.pausedUntilMs, () => life === this.life && this.handle(event));
      return;
    }
    if (!this.isUp) return;
    const heard: WorkerEvent =
      event.kind === 'message' ? { ...event, message: spoilMessage(bug, event.message) } : event;
    for (const effect of step(this.state, heard)) {
      if (this.crashIn !== undefined && this.crashIn-- <= 0) {
        this.crash();
        return;
      }
      this.perform(effect);
    }
  }

  private perform(effect: WorkerEffect): void {
    const { network } = this;
    switch (effect.kind) {
      case 'connect':
        network.connect(this);
        break;
      case 'send':
        network.send(this, effect.message);
        break;
      case 'hangUp':
        network.hangUp(this);
        break;
      case 'heartbeatEvery':
        this.beat(effect.ms, this.state.session, this.life);
        break;
      case 'fetchSnapshot':
        network.fetchSnapshot(this);
        break;
      case 'compute':
        this.compute(effect.task);
        break;
      case 'retryIn':
        this.later(effect.ms, () => ({ kind: 'retry' }));
        break;
      case 'keepSecret':
        this.secret = effect.secret;
        return;
      case 'finish':
        this.exit = effect.exitCode;
        return;
      case 'report':
        return;
    }
  }

  private later(delayMs: number, make: () => WorkerEvent): void {
    const { life } = this;
    this.world.clock.after(delayMs, () => life === this.life && this.handle(make()));
  }

  private beat(everyMs: number, session: number, life: number): void {
    this.world.clock.after(everyMs, () => {
      if (session !== this.state.session || life !== this.life || this.exit !== undefined) return;
      this.handle({ kind: 'heartbeat' });
      this.beat(everyMs, session, life);
    });
  }

  private compute(task: Task): void {
    const cost = task.kind === 'measure' ? this.world.between(20, 80) * this.slowness : this.world.between(0.2, 3);
    this.later(this.world.appliesSlowly && task.kind === 'apply' ? 100 * cost : cost, () => ({
      kind: 'computed',
      result: this.result(task),
    }));
  }

  private result(task: Task): TaskResult {
    const { rule } = this.world;
    const { round } = this.replica.normaliser;
    switch (task.kind) {
      case 'readData':
        return { kind: 'readData', data: { rows: 1, truncated: 0, merged: 0 } };
      case 'digest':
        return { kind: 'digest', digest: this.digest() };
      case 'restore':
        this.replica = this.restored.get(task.bytes) ?? this.replica;
        this.noteReplica();
        return { kind: 'restore', digest: this.digest() };
      case 'apply':
        this.replica = applyVirtually(this.replica, rule, task.record);
        this.noteReplica();
        return { kind: 'apply', round: round + 1 };
      case 'measure': {
        const { firstDirection } = task;
        const gradientBytes = measureVirtually(rule, this.state.worker!, round, firstDirection, this.directions);
        return {
          kind: 'measure',
          contribution: { measuredRound: round, firstDirection, gradientBytes },
          privacy: undefined,
          losses: undefined,
        };
      }
      case 'evaluate': {
        const { firstRow, rows } = task.request;
        return { kind: 'evaluate', counts: { round, firstRow, rows, correct: rows, classified: rows, lossSum: rows } };
      }
    }
  }

  private readonly restored = new WeakMap<Uint8Array, ReplicaState>();

  /** A snapshot has come over the network. */
  onSnapshot(replica: ReplicaState): void {
    const bytes = new Uint8Array(1);
    this.restored.set(bytes, copyReplica(replica));
    this.handle({ kind: 'snapshot', bytes });
  }

  private digest(): { round: number; sha256: Buffer } {
    return { round: this.replica.normaliser.round, sha256: replicaDigest(this.replica) };
  }

  /**
   * A damaged replica is to be found out by the digests of every DIGEST_EVERY rounds, where the worker and the trainer can hear each other. A
   * worker that catches up by records tells a single digest, at their end, and of most rounds the trainer has none to compare it with.
   */
  private noteReplica(): void {
    const { invariants, clock } = this.world;
    const { round } = this.replica.normaliser;
    if (this.corruptedAt === undefined) {
      invariants.onReplica(this.name, this.replica);
      return;
    }
    if (this.state.digestAt !== undefined) this.caughtUpAt = round;
    const rounds = round - Math.max(this.corruptedAt, this.caughtUpAt);
    const heardMs = clock.nowMs - Math.max(this.partitionedUntilMs, this.pausedUntilMs);
    if (invariants.isTrue(this.replica)) this.corruptedAt = undefined;
    else invariants.check(rounds < NOTICED_ROUNDS || heardMs < NOTICED_MS, `${this.name} deviates unnoticed`);
  }
}
