/**
 * Membership: is this row in the worker's shard? By the likelihood ratio over all bytes of a run, for a worker that draws its rows in
 * secret (what is drawn in the public order tells more: everybody knows then when a row of the shard comes).
 */
import { applyRecord } from '../../kernels/replica.ts';
import { measureGradients } from '../../worker/estimators/contribution.ts';
import { addClipped, type Mechanism } from '../../worker/privacy/mechanism.ts';
import { type Lab, nextRecord } from '../lab.ts';
import { DELTA, mechanismOf, privateEntry } from '../private-worker.ts';
import { mean } from '../statistics.ts';
import { differentRows, type LeakageRow, meanOf, valuesOf } from './seen.ts';

/** K, and ε of the worker; 0: no budget. */
const RUNS = [
  { directions: 8, epsilon: 0 },
  { directions: 256, epsilon: 0 },
  { directions: 256, epsilon: 8 },
  { directions: 256, epsilon: 4 },
  { directions: 256, epsilon: 1 },
];
/** A shard of a sixteenth of the rows; as many members and strangers are asked about. */
const SHARDS = 16;
const ROWS = 4;
const ROUNDS = 24;
const ASKED = 30;
/** The slopes of most rows of the example are shorter at the beginning. */
const CLIP = 2;

export async function membership(lab: Lab, tell: (row: LeakageRow) => void): Promise<void> {
  for (const { directions, epsilon } of RUNS) {
    const [members, strangers] = await scores(lab, directions, epsilon);
    const allowed = (Math.exp(epsilon) - 1 + 2 * DELTA) / (Math.exp(epsilon) + 1);
    tell({
      attack: 'member',
      estimator: 'backward',
      ...(epsilon > 0 && { epsilon, allowed }),
      rows: ROWS,
      seen: `${ROUNDS} × ${directions} B`,
      found: areaUnderCurve(members, strangers),
      chance: 0.5,
      advantage: advantage(members, strangers),
    });
  }
}

/** Log likelihood ratios of rows of the shard, and of others. */
async function scores(lab: Lab, directions: number, epsilon: number): Promise<[number[], number[]]> {
  const learning = { estimator: 'backward', directions, rows: ROWS, decayRounds: ROUNDS } as const;
  const { rule, workers, ...start } = await lab.begin({ seed: 1, workers: SHARDS, learning });
  const { context, shard } = workers[0]!;
  // Of another shard of the same file: rows of another source could be told apart without a byte.
  const known = new Set(shard.map(({ ids }) => ids.join(' ')));
  const elsewhere = workers[1]!.shard.filter(({ ids }) => !known.has(ids.join(' ')));
  const asked = [...differentRows(shard).slice(0, ASKED), ...differentRows(elsewhere).slice(0, ASKED)];
  const mechanism = mechanismOf(epsilon, CLIP, { size: shard.length, rows: ROWS }, ROUNDS);
  const ratios = new Float64Array(asked.length);
  let { replica } = start;
  for (let round = 0; round < ROUNDS; round++) {
    const entry = await privateEntry(context, replica, shard, mechanism);
    const slopes: Float64Array[] = [];
    for (const row of asked) {
      const clipped = new Float64Array(directions);
      addClipped(clipped, await measureGradients(context, replica, 0, [row]), mechanism.clip);
      slopes.push(clipped);
    }
    addRatios(ratios, slopes, valuesOf(entry.gradientBytes, replica), mechanism);
    replica = await applyRecord(replica, rule, nextRecord(replica, [entry]), lab.backend);
  }
  return [[...ratios.slice(0, ASKED)], [...ratios.slice(ASKED)]];
}

/**
 * Adds what one contribution says: with probability q the row is drawn and moves the mean by its slopes / rows; all else is taken for
 * normal around the usual contribution, with the variance that the bytes show.
 */
function addRatios(
  ratios: Float64Array,
  slopes: readonly Float64Array[],
  sent: Float64Array,
  mechanism: Mechanism,
): void {
  const { samplingRate, expectedRows } = mechanism;
  const usual = meanOf(slopes);
  const rest = sent.map((value, k) => value - usual[k]!);
  const variance = mean([...rest].map((value) => value * value));
  for (const [i, own] of slopes.entries()) {
    let [product, square] = [0, 0];
    for (const [k, slope] of own.entries()) {
      const shift = slope / expectedRows;
      product += rest[k]! * shift;
      square += shift * shift;
    }
    const exponent = Math.min(700, (product - square / 2) / variance);
    ratios[i]! += Math.log1p(samplingRate * Math.expm1(exponent));
  }
}

/** The chance that a member scores above a stranger. */
function areaUnderCurve(members: readonly number[], strangers: readonly number[]): number {
  const wins = members.flatMap((a) => strangers.map((b) => (a > b ? 1 : a === b ? 0.5 : 0)));
  return mean(wins);
}

/** The largest difference of true and false positives over all thresholds. */
function advantage(members: readonly number[], strangers: readonly number[]): number {
  const above = (scores: readonly number[], at: number): number => mean(scores.map((score) => (score >= at ? 1 : 0)));
  return Math.max(...members.map((at) => above(members, at) - above(strangers, at)));
}
