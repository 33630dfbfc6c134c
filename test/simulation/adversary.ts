/** A member that lies, floods, steals, or is silent when it matters. What it may do, it does; nothing of it is in the cores. */
import seedrandom from 'seedrandom';
import type { EvaluationRequest, Hello, TrainerMessage, WorkerMessage } from '../../proto/gen/onebyte.ts';
import { recordOf } from '../../proto/record.ts';
import { CONFIG_SHA256, type World } from './world.ts';

type Message = NonNullable<WorkerMessage['message']>;

/** One end of a stream; the adversary's streams share a connection. */
export interface HostileStream {
  send(message: Message): void;
  close(): void;
}

export interface HostileNetwork {
  open(
    adversary: Adversary,
    onMessage: (message: TrainerMessage) => void,
    onEnd: () => void,
  ): HostileStream | undefined;
}

/** What an adversary does beside contributing as anybody may; each does some. */
const TACTICS = [
  'fill the record',
  'abstain',
  'repeat itself late',
  'fall silent',
  'answer now and then',
  'lie about counts',
  'evaluate nothing',
  'forge digests',
  'steal names',
  'join and leave',
  'forge records',
] as const;
type Tactic = (typeof TACTICS)[number];

/** What a liar says that its minibatches lost. */
const LOSSES = [Number.NaN, Number.POSITIVE_INFINITY, -1, 1e30, 1e6];

/** Messages of one flood. */
const FLOOD = 6;

export class Adversary {
  /** Its machine: all its streams come over one connection. */
  readonly name: string;
  partitionedUntilMs = 0;
  private readonly random: () => number;
  private readonly tactics: ReadonlySet<Tactic>;
  private readonly world: World;
  private readonly network: HostileNetwork;
  private stream: HostileStream | undefined;
  private worker: number | undefined;
  private round = 0;
  private identities = 0;
  private silentFrom: number;
  /** Does nothing but keep rounds waiting under one name after the other. Drawn apart, so that what others do stays as it was. */
  private readonly isRestless: boolean;

  constructor(world: World, index: number, network: HostileNetwork) {
    this.world = world;
    this.network = network;
    this.name = `x${index}`;
    this.random = seedrandom(`simulation/${world.seed}/${this.name}`);
    const wanted = 2 + this.below(3);
    this.tactics = new Set(Array.from({ length: wanted }, () => TACTICS[this.below(TACTICS.length)]!));
    this.silentFrom = this.below(world.rules.rounds + 1);
    this.isRestless = seedrandom(`simulation/${world.seed}/${this.name}/restless`)() < 0.2;
  }

  start(): void {
    if (this.isRestless) {
      this.comeAndGo();
      return;
    }
    this.join();
    this.beat();
  }

  private below = (n: number): number => Math.floor(this.random() * n);

  private does(tactic: Tactic): boolean {
    return this.tactics.has(tactic);
  }

  private join(): void {
    let lost = false;
    const stream = this.network.open(
      this,
      (message) => this.hear(message),
      () => {
        if (lost) return;
        lost = true;
        this.stream = undefined;
        this.worker = undefined;
        this.world.clock.after(200 + this.below(800), () => this.join());
      },
    );
    this.stream = stream;
    if (!stream) {
      this.world.clock.after(500, () => this.join());
      return;
    }
    if (this.random() < 0.2) this.identities++;
    const isAhead = this.does('forge records') && this.random() < 0.5;
    const replica = isAhead ? { round: this.round + 3, sha256: this.forgedDigest(this.round) } : undefined;
    stream.send(this.hello(`${this.name}.${this.identities}`, { replica, epoch: 1 }));
  }

  private hello(name: string, more: Partial<Hello> = {}): Message {
    const value = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: CONFIG_SHA256, ...more };
    return { $case: 'hello', value };
  }

  /** All of them say the same. */
  private forgedDigest = (round: number): Buffer => Buffer.alloc(32, round + 1);

  private hear({ message }: TrainerMessage): void {
    switch (message?.$case) {
      case 'welcome':
        this.worker = message.value.worker;
        this.round = message.value.round;
        if (this.does('forge records')) this.forgeRecords();
        // The trainer has no digest of its own of this round: any will do.
        this.stream?.send({ $case: 'digest', value: { round: 7, sha256: this.forgedDigest(7) } });
        this.contribute();
        break;
      case 'record':
        this.round = message.value.round + 1;
        if (this.does('forge digests') && this.round % 16 === 0) this.forgeDigest();
        this.contribute();
        break;
      case 'evaluate':
        this.evaluate(message.value);
        break;
    }
  }

  /** Is waited for in one round, and comes back under a new name as it ends. */
  private comeAndGo(): void {
    const name = `${this.name}.${this.identities++}`;
    let records = 0;
    const stream = this.network.open(
      this,
      ({ message }) => {
        if (message?.$case === 'welcome')
          stream?.send({ $case: 'digest', value: { round: 7, sha256: this.forgedDigest(7) } });
        if (message?.$case !== 'record' || ++records < 2) return;
        stream?.send({ $case: 'leave', value: { reason: 'on' } });
        stream?.close();
      },
      () => this.world.clock.after(1 + this.below(20), () => this.comeAndGo()),
    );
    if (stream) stream.send(this.hello(name));
    else this.world.clock.after(500, () => this.comeAndGo());
  }

  private forgeRecords(): void {
    const entry = { staleness: 0, worker: 0, firstDirection: 0, gradientBytes: Buffer.of(1) };
    for (let i = 0; i < 3; i++) {
      const record = { ...recordOf(this.round + i, 0, [entry]), proof: Buffer.alloc(8, i) };
      this.stream?.send({ $case: 'recordGiven', value: record });
    }
  }

  private forgeDigest(): void {
    const value = { round: this.round, sha256: this.forgedDigest(this.round) };
    this.stream?.send({ $case: 'digest', value });
  }

  private contribute(): void {
    if (this.does('fall silent') && this.round >= this.silentFrom) return;
    if (this.does('answer now and then') && this.round % 7 !== 0) return;
    const { directions } = this.world.rules;
    const bytes = (n: number): Buffer =>
      this.does('abstain') && this.world.honestMembers() >= 2 * this.world.adversaries
        ? Buffer.alloc(n, 0x7f)
        : Buffer.from(Array.from({ length: n }, () => (this.random() < 0.5 ? 0x7e : 0xfe)));
    const say = (measuredRound: number, firstDirection: number, n: number): void => {
      if (measuredRound < 0 || this.worker === undefined) return;
      this.world.invariants.onHostile(this.worker);
      this.stream?.send({ $case: 'contribution', value: { measuredRound, firstDirection, gradientBytes: bytes(n) } });
    };
    if (this.does('fill the record')) for (let i = 0; i < FLOOD; i++) say(this.round, i * directions, directions);
    else say(this.round, 0, 1 + this.below(directions));
    if (!this.does('repeat itself late')) return;
    const openings = this.world.rules.learning.maxStaleness + 1;
    for (let i = 0; i < FLOOD; i++) this.world.clock.after(400 * (i + 1), () => say(this.round - openings, i, 1));
  }

  private evaluate({ round, firstRow, rows }: EvaluationRequest): void {
    if (this.does('evaluate nothing')) return;
    const lies = [
      { correct: rows, classified: rows, lossSum: -1e300 },
      { correct: rows, classified: rows, lossSum: -1 },
      { correct: 2 * rows, classified: 2 * rows, lossSum: 1 },
      { correct: rows, classified: rows, lossSum: Number.NaN },
      { correct: 0, classified: rows, lossSum: Number.POSITIVE_INFINITY },
      { correct: rows, classified: rows, lossSum: 0 },
    ];
    const truth = { correct: rows, classified: rows, lossSum: rows };
    const said = this.does('lie about counts') ? lies[this.below(lies.length)]! : truth;
    this.stream?.send({ $case: 'evaluation', value: { round, firstRow, rows, ...said } });
  }

  /** Lives on, and tries what needs no occasion. */
  private beat(): void {
    this.world.clock.after(400, () => {
      const loss = this.does('lie about counts') ? LOSSES[this.round % LOSSES.length]! : 1;
      this.stream?.send({ $case: 'heartbeat', value: { trainingLoss: { perRow: loss, perToken: 1 } } });
      if (this.does('steal names') && this.random() < 0.3) this.steal();
      if (this.does('join and leave') && this.random() < 0.3) this.joinAndLeave();
      if (this.random() < 0.01) this.stream?.close();
      this.beat();
    });
  }

  /** Says that it is another worker, on a stream of its own, with no secret or a made-up one. */
  private steal(): void {
    const name = `w${this.below(this.world.workers)}`;
    const resumeSecret = Buffer.alloc(this.random() < 0.5 ? 0 : 16, 5);
    const stream = this.network.open(
      this,
      ({ message }) => {
        if (message?.$case === 'welcome') this.world.invariants.onHostile(message.value.worker);
      },
      () => {},
    );
    stream?.send(this.hello(name, { resumeSecret }));
    this.world.clock.after(this.below(3000), () => stream?.close());
  }

  private joinAndLeave(): void {
    for (let i = 0; i < 3; i++) {
      const stream = this.network.open(
        this,
        () => {},
        () => {},
      );
      stream?.send(this.hello(`${this.name}-${this.below(1e6)}`));
      stream?.send({ $case: 'leave', value: { reason: 'on' } });
      stream?.close();
    }
  }
}
