/**
 * Membership: is this row in the worker's shard? By the likelihood ratio over all that was sent in a run, for a worker that draws its
 * rows in secret (what is drawn in the public order tells more: everybody knows then when a row of the shard comes).
 */
import seedrandom from 'seedrandom';
import { applyRecord, type ReplicaState } from '../../kernels/replica.ts';
import type { TokenRow } from '../../model/token-row.ts';
import { measureGradients } from '../../worker/estimators/contribution.ts';
import type { EstimatorContext } from '../../worker/estimators/estimator.ts';
import { addClipped, drawRows, type Mechanism } from '../../worker/privacy/mechanism.ts';
import { type Lab, nextRecord } from '../lab.ts';
import { DELTA, mechanismOf, privateEntry } from '../private-worker.ts';
import { mean } from '../statistics.ts';
import { differentRows, type LeakageRow, meanOf, shuffled, valuesOf } from './seen.ts';

interface Run {
  readonly directions: number;
  /** Of the worker; 0: no budget. */
  readonly epsilon: number;
  /** The attacker sees the whole gradient of each minibatch. */
  readonly whole?: true;
}

const MOST_DIRECTIONS = 256;
const RUNS: readonly Run[] = [
  ...[8, MOST_DIRECTIONS].map((directions) => ({ directions, epsilon: 0 })),
  ...[8, 4, 1].map((epsilon) => ({ directions: MOST_DIRECTIONS, epsilon })),
  { directions: MOST_DIRECTIONS, epsilon: 0, whole: true },
];
/**
 * The rows of one shard of so many: one half of them is the worker's, the other half are strangers. An odd number: classes that
 * alternate in the file are both in it.
 */
const SHARDS = 7;
const ROWS = 4;
const ROUNDS = 24;
/** Of each half, at most. */
const MOST_ASKED = 62;
/** The slopes of most rows of the example are shorter at the beginning. */
const CLIP = 2;

/** @param epsilons only these, with many bytes; default: also with few and with the whole gradient */
export async function membership(
  lab: Lab,
  trials: number,
  tell: (row: LeakageRow) => void,
  epsilons?: readonly number[],
): Promise<void> {
  for (const run of epsilons?.map((epsilon) => ({ directions: MOST_DIRECTIONS, epsilon })) ?? RUNS) {
    const { epsilon, whole }: Run = run;
    const games: Game[] = [];
    for (let trial = 1; trial <= trials; trial++) games.push(await play(lab, run, trial));
    const members = games.flatMap((game) => game.members);
    const strangers = games.flatMap((game) => game.strangers);
    tell({
      attack: 'member',
      estimator: whole ? 'averaging' : 'backward',
      ...(epsilon > 0 && { epsilon }),
      rows: ROWS,
      bytes: games[0]!.bytes,
      found: areaUnderCurve(members, strangers),
      chance: 0.5,
      advantage: advantage(members, strangers),
      ...(epsilon > 0 && { allowed: allowedAdvantage(epsilon) }),
      asked: members.length,
    });
  }
}

/** Two halves of the different rows of `rows`, in an order that `random` decides: alike in all but that one half is used. */
export function halves(rows: readonly TokenRow[], random: () => number): [TokenRow[], TokenRow[]] {
  const all = shuffled(differentRows(rows), random);
  const half = all.length >> 1;
  return [all.slice(0, half), all.slice(half, 2 * half)];
}

interface Game {
  /** Log likelihood ratios of rows of the shard, and of strangers. */
  readonly members: readonly number[];
  readonly strangers: readonly number[];
  /** That the attacker saw. */
  readonly bytes: number;
}

async function play(lab: Lab, { directions, epsilon, whole }: Run, seed: number): Promise<Game> {
  const learning = { estimator: 'backward', directions, rows: ROWS, decayRounds: ROUNDS } as const;
  const { rule, workers, ...start } = await lab.begin({ seed, workers: SHARDS, learning });
  const { context, shard: pool } = workers[0]!;
  const random = seedrandom(`member ${seed}`);
  const [shard, others] = halves(pool, random);
  const most = Math.min(MOST_ASKED, shard.length);
  const asked = [...shard.slice(0, most), ...others.slice(0, most)];
  const mechanism = mechanismOf(epsilon, CLIP, { size: shard.length, rows: ROWS }, ROUNDS);
  const ratios = new Float64Array(asked.length);
  let { replica } = start;
  for (let round = 0; round < ROUNDS; round++) {
    const entry = await privateEntry(context, replica, shard, mechanism);
    const sent = whole
      ? await wholeGradient(context, replica, shard, mechanism, random)
      : valuesOf(entry.gradientBytes, replica);
    const own: (Float32Array | Float64Array)[] = [];
    for (const row of asked)
      own.push(
        await (whole
          ? context.forward.gradient([row], replica.theta)
          : clippedSlopes(context, replica, row, mechanism)),
      );
    addRatios(ratios, own, sent, mechanism);
    replica = await applyRecord(replica, rule, nextRecord(replica, [entry]), lab.backend);
  }
  const bytes = ROUNDS * (whole ? 4 * context.layout.elements : directions);
  return { members: [...ratios.slice(0, most)], strangers: [...ratios.slice(most)], bytes };
}

async function clippedSlopes(
  context: EstimatorContext,
  replica: ReplicaState,
  row: TokenRow,
  { clip }: Mechanism,
): Promise<Float64Array> {
  const clipped = new Float64Array(context.learning.directions);
  addClipped(clipped, await measureGradients(context, replica, 0, [row]), clip);
  return clipped;
}

/** What averaging would send of a minibatch that is drawn in the same way. */
async function wholeGradient(
  context: EstimatorContext,
  replica: ReplicaState,
  shard: readonly TokenRow[],
  { samplingRate, expectedRows }: Mechanism,
  random: () => number,
): Promise<Float64Array> {
  const sum = new Float64Array(context.layout.elements);
  for (const row of drawRows(shard.length, samplingRate, random))
    for (const [i, value] of (await context.forward.gradient([shard[row]!], replica.theta)).entries())
      sum[i]! += value / expectedRows;
  return sum;
}

/** Root mean square of E4M3's stochastic rounding, beside the number that is rounded. */
const ROUNDING = 0.04;

/**
 * Adds what one contribution says. Each of the `asked` rows may have been drawn, apart from the others, and moves the mean by its
 * slopes / rows; that, the noise and the rounding are taken for normal. The ratio of a row is that of the two normal densities of what
 * was sent with and without it, where a member is drawn with probability q.
 */
export function addRatios(
  ratios: Float64Array,
  asked: readonly (Float32Array | Float64Array)[],
  sent: Float64Array,
  { samplingRate, expectedRows, noise, clip }: Mechanism,
): void {
  // Half of them are members.
  const drawn = samplingRate / 2;
  const variance = drawn * (1 - drawn);
  const moves = asked.map((slopes) => Float64Array.from(slopes, (slope) => slope / expectedRows));
  const usual = meanOf(moves).map((value) => value * drawn * moves.length);
  const rest = sent.map((value, k) => value - usual[k]!);
  const added = (noise * clip * Math.sqrt(sent.length)) / expectedRows;
  const floor = added ** 2 + (ROUNDING ** 2 * dot(sent, sent)) / sent.length;
  // With M = moves as rows, M·(floor·1 + variance·MᵀM)⁻¹ = (floor·1 + variance·M·Mᵀ)⁻¹·M: rows × rows, not directions × directions.
  const gram = moves.map((a) => moves.map((b) => dot(a, b)));
  const weights = inverse(gram.map((line, i) => line.map((value, j) => variance * value + (i === j ? floor : 0))));
  const along = moves.map((move) => dot(move, rest));
  for (const [i, line] of weights.entries()) {
    const length = dot(line, gram[i]!);
    // Of all but the row itself.
    const alone = 1 / (1 - variance * length);
    const exponent = alone * (dot(line, along) + drawn * length - length / 2);
    ratios[i]! += Math.log1p(samplingRate * Math.expm1(Math.min(700, exponent)));
  }
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}

/** Of a symmetric positive definite matrix: Gauss and Jordan, no pivots. */
function inverse(matrix: readonly (readonly number[])[]): Float64Array[] {
  const size = matrix.length;
  const lines = matrix.map((line, i) => Float64Array.from([...line, ...line.map((_, j) => (i === j ? 1 : 0))]));
  for (const [i, pivot] of lines.entries()) {
    const scale = pivot[i]!;
    for (const k of pivot.keys()) pivot[k]! /= scale;
    for (const [j, line] of lines.entries()) {
      const factor = line[i]!;
      if (j !== i) for (const k of line.keys()) line[k]! -= factor * pivot[k]!;
    }
  }
  return lines.map((line) => line.subarray(size));
}

/** The chance that a member scores above a stranger. */
export function areaUnderCurve(members: readonly number[], strangers: readonly number[]): number {
  const wins = members.flatMap((a) => strangers.map((b) => (a > b ? 1 : a === b ? 0.5 : 0)));
  return mean(wins);
}

/** The largest difference of true and false positives over all thresholds. */
export function advantage(members: readonly number[], strangers: readonly number[]): number {
  const above = (scores: readonly number[], at: number): number => mean(scores.map((score) => (score >= at ? 1 : 0)));
  return Math.max(...members.map((at) => above(members, at) - above(strangers, at)));
}

/** The largest that (ε, δ) lets any attack on one row have (Kairouz, Oh, Viswanath 2015). */
export const allowedAdvantage = (epsilon: number): number =>
  (Math.exp(epsilon) - 1 + 2 * DELTA) / (Math.exp(epsilon) + 1);
