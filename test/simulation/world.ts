/** What all parts of one simulation share: the clock, the seeded draws, the run's rules and the planted bug. */
import seedrandom from 'seedrandom';
import type { LearningRule } from '../../kernels/learning-rule.ts';
import { TrainerSettings } from '../../settings/trainer-settings.ts';
import type { TrainerRules } from '../../trainer/core/state.ts';
import { VirtualClock } from './clock.ts';
import { Invariants } from './invariants.ts';
import type { PlantedBug } from './planted-bugs.ts';
import { DIRECTIONS, ELEMENTS, virtualRule } from './virtual-replica.ts';

export const ROUNDS = 100;
/** The time in which a run must go on once faults have stopped, virtual ms. */
export const PROGRESS_MS = 10_000;
export const CONFIG_SHA256 = Buffer.alloc(32, 1);

export class World {
  readonly seed: number;
  readonly bug: PlantedBug | undefined;
  readonly clock = new VirtualClock();
  readonly random: () => number;
  readonly rules: TrainerRules;
  readonly rule: LearningRule;
  readonly invariants: Invariants;
  readonly workers: number;
  /** Members that lie; at most a third of all. */
  readonly adversaries: number;
  /** An apply may outlive its stream and the wait for the next. */
  readonly appliesSlowly: boolean;
  /** No fault before: what was broken is to be healed by those who are left. */
  quietUntilMs = 0;
  /** Faults have ended some time ago: only adversaries still act. */
  isCalm = false;
  /** Honest members, now: adversaries are to be a third of all at most when they do what a majority may do. */
  honestMembers = (): number => 0;

  constructor(seed: number, bug: PlantedBug | undefined) {
    this.seed = seed;
    this.appliesSlowly = seed % 5 === 2;
    this.bug = bug;
    this.random = seedrandom(`simulation/${seed}`);
    this.workers = 3 + Math.floor(30 * this.random() ** 4);
    this.rule = virtualRule(seed, this.below(3));
    const hostile = seedrandom(`simulation/${seed}/adversaries`);
    this.adversaries = hostile() < 0.5 ? 0 : 1 + Math.floor(hostile() * Math.floor(this.workers / 2));
    this.invariants = new Invariants(this.rule);
    this.rules = {
      settings: TrainerSettings.parse({
        // Fewer than there are: one may leave for good.
        startWorkers: 1 + this.below(Math.min(3, this.workers - 1)),
        // All would be those who never answer, too.
        quorum: this.random() < 0.3 && this.adversaries === 0 ? 'all' : 0.5,
        deadlineFloorMs: 50,
        deadlineCeilingMs: this.adversaries === 0 ? 500 : 5_000,
        leaseMs: 6_000,
        heartbeatMs: 500,
        evaluateEvery: 20,
        checkpointEvery: 25,
      }),
      learning: this.rule,
      directions: DIRECTIONS,
      gradientsPerRecord: 3 * (this.workers + this.adversaries),
      rounds: ROUNDS,
      devRows: 40,
      runConfigSha256: CONFIG_SHA256,
      runSecret: Buffer.alloc(32, seed & 255),
      adapterElements: this.random() < 0.5 ? ELEMENTS : 10_000_000,
      continuesAdapter: seed % 7 === 3,
    };
  }

  /** A whole number 0…n−1. */
  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  /** A delay between two bounds, ms. */
  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }
}
