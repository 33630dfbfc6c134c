/** One simulated run from one seed: faults of every kind for a while, then none, then the run must end, and end right. */
import seedrandom from 'seedrandom';
import { EXIT } from '../../proto/operating-error.ts';
import { Adversary } from './adversary.ts';
import { Breach } from './invariants.ts';
import { VirtualNetwork } from './network.ts';
import type { PlantedBug } from './planted-bugs.ts';
import { VirtualTrainer } from './virtual-trainer.ts';
import { VirtualWorker } from './virtual-worker.ts';
import { PROGRESS_MS, ROUNDS, World } from './world.ts';

/** The longest time that faults go on, virtual ms, and the round after which they stop. */
const FAULTS_MS = 60_000;
/** Part of the runs whose trainer is asked to go once, and the time until then at most, virtual ms. */
const DRAINED = 0.3;
const DRAIN_MS = 10_000;
const FAULT_ROUNDS = 80;
const TICK_MS = 25;
/** After so long without faults, virtual ms, members have been heard often enough to tell how soon they answer. */
const CALM_MS = 5_000;
/**
 * The time in which the last evaluation must be over beside adversaries, virtual ms: four times what a member may take that is paused for
 * 9 s as it evaluates, and then a little.
 */
const LAST_MS = 40_000;
/** The time in which a worker that was there as the run ended ends too, virtual ms. */
const HEARD_MS = 30_000;
/** Events of one run: beyond is an endless loop. */
const MAX_EVENTS = 3_000_000;

/** What went wrong in the run of `seed`; undefined: nothing. */
export function simulate(seed: number, bug?: PlantedBug): string | undefined {
  const world = new World(seed, bug);
  try {
    new Simulation(world).run();
    return undefined;
  } catch (error) {
    const text = error instanceof Breach ? error.message : String((error as Error).stack);
    return `seed ${seed}, virtual ms ${world.clock.nowMs.toFixed(1)}: ${text}`;
  }
}

class Simulation {
  private readonly world: World;
  private readonly network: VirtualNetwork;
  private readonly trainer: VirtualTrainer;
  private readonly workers: VirtualWorker[];
  private readonly adversaries: readonly Adversary[];
  private faultsEndedMs: number | undefined;
  private progress = { round: 0, atMs: 0 };
  private corrupted = false;

  constructor(world: World) {
    this.world = world;
    this.network = new VirtualNetwork(world);
    this.trainer = new VirtualTrainer(world, this.network.ofTrainer);
    this.network.trainer = this.trainer;
    world.honestMembers = () =>
      [...(this.trainer.state?.members.values() ?? [])].filter(({ name }) => name.startsWith('w')).length;
    this.workers = Array.from({ length: world.workers }, (_, i) => new VirtualWorker(world, i, this.network));
    this.network.workers.push(...this.workers);
    this.adversaries = Array.from({ length: world.adversaries }, (_, i) => new Adversary(world, i, this.network));
  }

  run(): void {
    const { world, trainer } = this;
    for (const worker of this.workers) world.clock.after(world.between(0, 300), () => worker.start());
    for (const adversary of this.adversaries) adversary.start();
    this.tick();
    this.nextFault();
    const drains = seedrandom(`simulation/${world.seed}/drains`);
    if (drains() < DRAINED) world.clock.after(drains() * DRAIN_MS, () => trainer.handle({ kind: 'drain' }));
    for (let events = 0; !trainer.exit; events++) {
      world.clock.step();
      world.invariants.check(events < MAX_EVENTS, 'the run goes on and on');
    }
    const { exitCode, text } = trainer.exit;
    world.invariants.check(exitCode === EXIT.done, `the trainer stopped with code ${exitCode}: ${text}`);
    world.invariants.check(trainer.snapshot().normaliser.round === ROUNDS, 'the run ended early');
    this.checkEnds();
    this.trainer.open();
  }

  /** Workers that were there as the run ended have heard that it is done. */
  private checkEnds(): void {
    const { clock, invariants } = this.world;
    const joined = this.workers.filter((worker) => worker.isReachable && this.network.isJoined(worker));
    const untilMs = clock.nowMs + HEARD_MS;
    while (clock.nowMs < untilMs && clock.step());
    for (const { name, exit } of joined)
      invariants.check(exit === EXIT.done, `${name} never heard that the run is done`);
  }

  private tick(): void {
    this.trainer.handle({ kind: 'tick' });
    this.checkProgress();
    if (!this.trainer.exit) this.world.clock.after(TICK_MS, () => this.tick());
  }

  private checkProgress(): void {
    const { clock, invariants } = this.world;
    const round = this.trainer.snapshotRound;
    if (this.faultsEndedMs === undefined) {
      if (clock.nowMs > FAULTS_MS || round >= FAULT_ROUNDS) this.endFaults();
      return;
    }
    this.world.isCalm ||= clock.nowMs > this.faultsEndedMs + CALM_MS;
    // A paused trainer may be opened on a log with a record more than its replica had: its pause goes on, and so do faults.
    if (round > this.progress.round) this.progress = { round, atMs: Math.max(clock.nowMs, this.progress.atMs) };
    const sinceMs = clock.nowMs - this.progress.atMs;
    // At the end one member after another may keep the last evaluation waiting.
    const limitMs = round === ROUNDS && this.adversaries.length > 0 ? LAST_MS : PROGRESS_MS;
    invariants.check(sinceMs <= limitMs, `no progress from round ${round} for ${sinceMs.toFixed(0)} virtual ms`);
  }

  /** What is down comes back, what is cut is joined. Those who left for good stay away. */
  private endFaults(): void {
    const { clock } = this.world;
    let healedMs = clock.nowMs;
    for (const worker of this.workers) {
      worker.crashIn = undefined;
      healedMs = Math.max(healedMs, worker.pausedUntilMs, worker.partitionedUntilMs);
    }
    this.trainer.crashIn = undefined;
    this.trainer.disk.failNext = undefined;
    healedMs = Math.max(healedMs, this.trainer.pausedUntilMs);
    this.faultsEndedMs = healedMs;
    this.progress = { round: this.trainer.snapshotRound, atMs: healedMs + 1_000 };
    const [first] = this.workers;
    if (this.leavesForGood && first!.isUp) first!.crash();
    this.revive();
  }

  /** In every third run one worker never comes back. */
  private get leavesForGood(): boolean {
    return this.world.seed % 3 === 0;
  }

  /** Starts what died, as an operator or Kubernetes does. */
  private revive(): void {
    const { clock } = this.world;
    if (!this.trainer.isUp && !this.trainer.exit) this.trainer.open();
    this.workers.forEach((worker, i) => {
      const isGone = i === 0 && this.leavesForGood;
      if (worker.isUp && worker.exit !== undefined && worker.exit !== EXIT.done) worker.isUp = false;
      if (!worker.isUp && !isGone) clock.after(this.world.between(0, 500), () => worker.isUp || worker.start());
    });
  }

  private nextFault(): void {
    const { world } = this;
    world.clock.after(world.between(20, 800), () => {
      if (this.faultsEndedMs !== undefined || this.trainer.exit) {
        if (!this.trainer.exit) this.world.clock.after(500, () => this.nextFault());
        this.revive();
        return;
      }
      if (world.clock.nowMs >= world.quietUntilMs) this.fault();
      else this.revive();
      this.nextFault();
    });
  }

  private fault(): void {
    const { world, trainer, network } = this;
    const worker = this.workers[world.below(this.workers.length)]!;
    const { nowMs } = world.clock;
    switch (world.below(12)) {
      case 0:
        worker.crashIn = world.below(6);
        return;
      case 1:
        if (world.random() < 0.4) trainer.crashIn = world.below(12);
        return;
      case 2:
        worker.partitionedUntilMs = nowMs + world.between(50, 9_000);
        if (world.random() < 0.5) world.clock.at(worker.partitionedUntilMs, () => network.reset(worker));
        return;
      case 3:
        for (const other of this.workers)
          if (world.random() < 0.5) other.partitionedUntilMs = nowMs + world.between(50, 3_000);
        return;
      case 4:
        worker.pausedUntilMs = nowMs + world.between(50, 9_000);
        return;
      case 5:
        if (world.random() < 0.3) trainer.pausedUntilMs = nowMs + world.between(50, 9_000);
        return;
      case 6:
        trainer.clockAheadMs += world.between(0, 10_000);
        return;
      case 7:
        if (world.random() < 0.2) trainer.disk.failNext = world.random() < 0.5 ? 'EIO' : 'ENOSPC';
        return;
      case 8:
        if (!this.corrupted && worker.isReachable) worker.corrupt();
        this.corrupted = true;
        return;
      case 9:
      case 10:
        network.reset(worker);
        return;
      default:
        this.revive();
    }
  }
}
