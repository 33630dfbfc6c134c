/** `onebyte bench learning`: what each choice costs in accuracy, over seeds. In one process, real model and kernels, no network. */

import type { Dataset } from '../data/dataset.ts';
import { powerOfTwo } from '../kernels/float64.ts';
import { absorbTerms, exponentInForce, type LiveTerm } from '../kernels/learning-rule.ts';
import { roundingWord, roundKey } from '../kernels/random-keys.ts';
import { applyRecord, moveReplica, type ReplicaState } from '../kernels/replica.ts';
import type { RecordEntry } from '../proto/record.ts';
import { Learning } from '../proto/run-config.ts';
import { measureContribution, measureGradients } from '../worker/estimators/contribution.ts';
import { Lab, nextRecord, type Trial, type TrialSettings } from './lab.ts';
import { CODECS, type CodecName } from './learning-codecs.ts';
import { TABLES, type TableName } from './learning-tables.ts';
import { describeMachine, type Machine } from './machine.ts';
import { rounded } from './rounded.ts';
import { type MeanAndSpread, mean, spread } from './statistics.ts';

export interface LearningBenchOptions {
  /** Directory with model/, train.jsonl and dev.jsonl. */
  readonly example: string;
  /** Default: all. */
  readonly table?: readonly TableName[];
  /** Default 3. */
  readonly seeds?: number;
  /** Default 1: then seeds 1, 2, …. */
  readonly firstSeed?: number;
  /** Directions of a run: what all runs of a table have in common, but for the table `cap`. Default 5,120. */
  readonly budget?: number;
  readonly onRow?: (row: LearningRow) => void;
}

/** One choice over all seeds. */
export interface LearningRow {
  readonly table: TableName;
  readonly choice: string;
  readonly rounds: number;
  /** Gradients of a round. */
  readonly gradients: number;
  /** At the end, on the dev split. */
  readonly accuracy: MeanAndSpread;
  readonly loss: MeanAndSpread;
  /** Over the seeds that reached 90 % on the dev split; absent where none did. */
  readonly to90?: { readonly seeds: number; readonly rounds: MeanAndSpread; readonly directions: MeanAndSpread };
  /** What the whole run cost: rows through the forward pass, and bytes of gradients that a worker sends. */
  readonly rowForwards: number;
  readonly bytes: number;
  /** Means over the seeds. */
  readonly curve: readonly { readonly round: number; readonly accuracy: number; readonly loss: number }[];
  readonly seconds: number;
}

export interface LearningBench {
  readonly rows: readonly LearningRow[];
  readonly seeds: number;
  readonly budget: number;
  readonly machine: Machine;
}

interface Choice {
  readonly name: string;
  readonly workers: number;
  readonly learning: Partial<Learning> & { directions: number };
  readonly adapter?: TrialSettings['adapter'];
  readonly codec?: CodecName;
  /** Default: as many as the budget gives. */
  readonly rounds?: number;
}

/** n = 16: 4 workers with 4 directions each. All runs begin at the same learning rate, which falls over their rounds. */
const USUAL = { workers: 4, learning: { directions: 4 } };
const change = (name: string, part: Partial<Learning>): Choice => ({
  ...USUAL,
  name,
  learning: { ...USUAL.learning, ...part },
});

/** What a gradient of a large record counts, at equal rounds. One backward pass measures all directions of a contribution. */
const LARGE_ROUNDS = 20;
const atCap = (gradients: number, cap: number, capExponent: Learning['capExponent']): Choice => ({
  name: gradients <= 64 ? String(gradients) : `${gradients}: (${cap}/n)^${capExponent}`,
  workers: 4,
  learning: { directions: gradients / 4, cap, capExponent, estimator: 'backward' },
  rounds: LARGE_ROUNDS,
});
const CAPS = [
  [64, 1],
  [64, 0.75],
  [64, 0.5],
  [64, 0.25],
  [64, 0],
  [128, 0.5],
  [256, 0.5],
] as const;

const CHOICES: { readonly [table in TableName]: readonly Choice[] } = {
  codecs: (Object.keys(CODECS) as CodecName[]).map((codec) => ({ ...USUAL, name: codec, codec })),
  workers: [1, 2, 4, 8, 16, 32, 64].map((workers) => ({ ...USUAL, name: String(workers), workers })),
  directions: [1, 2, 4, 8, 16, 32].map((directions) => change(String(directions), { directions })),
  estimator: Learning.shape.estimator.unwrap().options.map((estimator) => change(estimator, { estimator })),
  train: (['both', 'B'] as const).map((train) => ({ ...USUAL, name: train, adapter: { train } })),
  rank: [1, 2, 4, 8].map((rank) => ({ ...USUAL, name: String(rank), adapter: { rank } })),
  stripes: ([1, 4, 16, 64] as const).map((m) => change(String(m), { directionStripes: m })),
  staleness: [0, 1, 2, 3, 4].map((maxStaleness) => change(String(maxStaleness), { maxStaleness })),
  cap: [
    ...[16, 64].map((n) => atCap(n, 64, 0.5)),
    ...[256, 1024, 4096].flatMap((n) => CAPS.map(([cap, exponent]) => atCap(n, cap, exponent))),
  ],
};

/**
 * Rows that pass the forward for one contribution: of two-sided estimators two adapters a direction, else one more than
 * directions; a pass back is about as much as one more forward.
 */
const rowForwardsOf = ({ estimator, directions, rows }: Learning): number =>
  rows * { spsa: 2 * directions, oneSided: directions + 1, forward: directions + 1, backward: 2 }[estimator];

/** Rows of the dev split that the curve is measured on, and its points; the end is measured on all rows. */
const CURVE_ROWS = 128;
const CURVE_POINTS = 20;
const WON = 0.9;

export async function benchLearning(options: LearningBenchOptions): Promise<LearningBench> {
  const { example, table: tables = TABLES, seeds = 3, firstSeed = 1, budget = 5120, onRow } = options;
  const chosen = Array.from({ length: seeds }, (_, i) => firstSeed + i);
  const machine = describeMachine();
  const lab = await Lab.open(example);
  const rows: LearningRow[] = [];
  try {
    const dev = await lab.read('dev.jsonl');
    for (const table of tables)
      for (const choice of CHOICES[table]) {
        const row = rounded({ table, ...(await over(lab, dev, choice, chosen, budget)) });
        rows.push(row);
        onRow?.(row);
      }
  } finally {
    await lab.close();
  }
  return { rows, seeds, budget, machine };
}

async function over(
  lab: Lab,
  dev: Dataset,
  choice: Choice,
  seeds: readonly number[],
  budget: number,
): Promise<Omit<LearningRow, 'table'>> {
  const begin = performance.now();
  const gradients = choice.workers * choice.learning.directions;
  const rounds = choice.rounds ?? Math.ceil(budget / gradients);
  const runs: Run[] = [];
  for (const seed of seeds) runs.push(await run(lab, dev, choice, seed, rounds));
  const reached = runs.flatMap(({ wonAt }) => (wonAt === undefined ? [] : [wonAt]));
  const settings = Learning.parse(choice.learning);
  const bits = CODECS[choice.codec ?? 'E4M3'].bits;
  return {
    choice: choice.name,
    rounds,
    gradients,
    accuracy: spread(runs.map(({ accuracy }) => accuracy)),
    loss: spread(runs.map(({ loss }) => loss)),
    ...(reached.length > 0 && {
      to90: {
        seeds: reached.length,
        rounds: spread(reached),
        directions: spread(reached.map((round) => round * gradients)),
      },
    }),
    rowForwards: rounds * choice.workers * rowForwardsOf(settings),
    bytes: (rounds * choice.learning.directions * bits) / 8,
    curve: runs[0]!.curve.map(({ round }, i) => ({
      round,
      accuracy: mean(runs.map(({ curve }) => curve[i]!.accuracy)),
      loss: mean(runs.map(({ curve }) => curve[i]!.loss)),
    })),
    seconds: (performance.now() - begin) / 1000,
  };
}

interface Run {
  readonly accuracy: number;
  readonly loss: number;
  /** The first round of the curve with at least 90 %. */
  readonly wonAt: number | undefined;
  readonly curve: readonly { readonly round: number; readonly accuracy: number; readonly loss: number }[];
}

async function run(lab: Lab, dev: Dataset, choice: Choice, seed: number, rounds: number): Promise<Run> {
  const { workers, adapter, codec = 'E4M3' } = choice;
  const learning = { ...choice.learning, decayRounds: rounds };
  const trial = await lab.begin({ seed, workers, learning, ...(adapter && { adapter }) });
  const few = { ...dev, examples: dev.examples.slice(0, CURVE_ROWS) };
  const advance = codec === 'E4M3' ? recordsOf(lab, trial) : termsOf(lab, trial, codec);
  const curve: Run['curve'][number][] = [];
  const every = Math.max(1, Math.round(rounds / CURVE_POINTS));
  let { replica } = trial;
  for (let round = 1; round <= rounds; round++) {
    replica = await advance(replica);
    if (round % every > 0) continue;
    const { accuracy = Number.NaN, loss } = await trial.evaluate(replica.theta, few);
    curve.push({ round, accuracy, loss });
  }
  const { accuracy = Number.NaN, loss } = await trial.evaluate(replica.theta, dev);
  return { accuracy, loss, curve, wonAt: curve.find((point) => point.accuracy >= WON)?.round };
}

/** A round as it is in a run. With staleness τ every contribution counts τ rounds after it was measured: the worst case. */
function recordsOf(lab: Lab, { rule, workers }: Trial): (replica: ReplicaState) => Promise<ReplicaState> {
  const waiting: Omit<RecordEntry, 'staleness'>[][] = [];
  return async (replica) => {
    const { round } = replica.normaliser;
    const measured: Omit<RecordEntry, 'staleness'>[] = [];
    for (const { context, rows } of workers) {
      const { gradientBytes } = await measureContribution(context, replica, 0, rows(round));
      measured.push({ worker: context.worker, firstDirection: 0, gradientBytes });
    }
    waiting.push(measured);
    const due = waiting.length > rule.maxStaleness ? waiting.shift()! : [];
    const entries = due.map((entry) => ({ ...entry, staleness: rule.maxStaleness }));
    return applyRecord(replica, rule, nextRecord(replica, entries), lab.backend);
  };
}

/** A round whose gradients pass another codec. */
function termsOf(lab: Lab, { rule, workers }: Trial, codec: CodecName): (r: ReplicaState) => Promise<ReplicaState> {
  return async (replica) => {
    const { normaliser } = replica;
    const scale = powerOfTwo(-exponentInForce(normaliser));
    const terms: LiveTerm[] = [];
    for (const { context, rows } of workers) {
      const { worker } = context;
      const key = roundKey(rule.seedKey, normaliser.round, worker);
      const gradients = await measureGradients(context, replica, 0, rows(normaliser.round));
      for (const [direction, g] of gradients.entries())
        terms.push({
          worker,
          roundKey: key,
          direction,
          q: CODECS[codec].quantise(g * scale, roundingWord(key, direction)),
        });
    }
    return await moveReplica(replica, rule, absorbTerms(normaliser, rule, terms), lab.backend);
  };
}
