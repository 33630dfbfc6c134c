/**
 * `onebyte bench leakage`: attacks on one worker's rows as a participant would make them who sees all records: it holds θ, makes every
 * direction, and measures any row that it can think of. Beside each, the same attack on the whole gradient that averaging would send.
 */
import { basename } from 'node:path';
import seedrandom from 'seedrandom';
import { usageError } from '../proto/operating-error.ts';
import { gradientBytes, measureGradients } from '../worker/estimators/contribution.ts';
import { Lab } from './lab.ts';
import { canaries } from './leakage/canaries.ts';
import { membership } from './leakage/membership.ts';
import { COUNTS, reconstruction } from './leakage/reconstruction.ts';
import { differentRows, type LeakageRow, meanOf, shuffled, valuesOf } from './leakage/seen.ts';
import { describeMachine, type Machine } from './machine.ts';
import { rounded } from './rounded.ts';
import { mean } from './statistics.ts';

export interface LeakageOptions {
  /** Directory with model/, train.jsonl and dev.jsonl. */
  readonly example: string;
  /** Default: all. */
  readonly only?: LeakageRow['attack'];
  /** Repetitions of each attack. Default 3. */
  readonly trials?: number;
  /** Of `member` and `canary`, 0: no budget. Default: 0, 8, 4, 1, and what is beside them. */
  readonly epsilon?: readonly number[];
  readonly onRow?: (row: LeakageRow) => void;
}

const CANDIDATES = 32;
const MINIBATCHES = [1, 4, 16] as const;
/** The most gradients of a minibatch that are seen. */
const MOST = COUNTS.at(-1)!;
/** Two forward passes each: no more of them than shows that both estimators tell the same. */
const MOST_SPSA = 256;

export interface LeakageBench {
  /** Name of the example's directory. */
  readonly example: string;
  readonly rows: readonly LeakageRow[];
  readonly machine: Machine;
}

export async function benchLeakage(options: LeakageOptions): Promise<LeakageBench> {
  const { example, only, trials = 3, epsilon, onRow } = options;
  if (trials < 1) throw usageError(`${trials} repetitions of each attack: expected at least 1`);
  const asked = (attack: LeakageRow['attack']): boolean => (only ?? attack) === attack;
  const machine = describeMachine();
  const lab = await Lab.open(example);
  const rows: LeakageRow[] = [];
  const tell = (row: LeakageRow): void => {
    rows.push(rounded(row));
    onRow?.(rows.at(-1)!);
  };
  try {
    if (asked('which')) await whichRows(lab, trials, tell);
    if (asked('member')) await membership(lab, trials, tell, epsilon);
    if (asked('text')) await reconstruction(lab, trials, tell);
    if (asked('canary')) await canaries(lab, trials, tell, epsilon);
  } finally {
    await lab.close();
  }
  return { example: basename(example), rows, machine };
}

/**
 * Which of the candidates are in one minibatch: those whose own slopes, with the average of all for the other rows, come nearest to what
 * was sent.
 */
async function whichRows(lab: Lab, trials: number, tell: (row: LeakageRow) => void): Promise<void> {
  const random = seedrandom('which');
  const begin = (estimator: 'backward' | 'spsa', directions: number) =>
    lab.begin({ seed: 1, workers: 4, learning: { estimator, directions } });
  const [exact, differences] = [await begin('backward', MOST), await begin('spsa', MOST_SPSA)];
  const { replica } = exact;
  const [{ context, shard }, spsa] = [exact.workers[0]!, differences.workers[0]!.context];
  const distinct = differentRows(shard);
  const parts = new Map<string, number[]>();
  for (let trial = 0; trial < trials; trial++) {
    const candidates = shuffled(distinct, random).slice(0, CANDIDATES);
    const gradients: Float32Array[] = [];
    const slopes: Float64Array[] = [];
    for (const row of candidates) {
      gradients.push(await context.forward.gradient([row], replica.theta));
      slopes.push(await measureGradients(context, replica, 0, [row]));
    }
    for (const rows of MINIBATCHES) {
      const note = (estimator: string, bytes: number, part: number): void => {
        const key = JSON.stringify({ estimator, rows, bytes });
        parts.set(key, [...(parts.get(key) ?? []), part]);
      };
      for (const worker of [context, spsa]) {
        const { estimator, directions } = worker.learning;
        const sent = await measureGradients(worker, replica, 0, candidates.slice(0, rows));
        const values = valuesOf(gradientBytes(worker, replica, 0, sent), replica);
        for (const count of COUNTS.filter((count) => count <= directions))
          note(estimator, count, found(slopes, values.subarray(0, count), rows));
      }
      const whole = meanOf(gradients.slice(0, rows));
      note('averaging', 4 * whole.length, found(gradients, whole, rows));
    }
  }
  for (const [key, of] of parts) {
    const { rows, ...what } = JSON.parse(key) as Pick<LeakageRow, 'estimator' | 'rows' | 'bytes'>;
    tell({ attack: 'which', ...what, rows, found: mean(of), chance: rows / CANDIDATES });
  }
}

/** Part of the first `rows` candidates that are among the `rows` that explain `sent` best. */
function found(vectors: readonly (Float32Array | Float64Array)[], sent: Float64Array, rows: number): number {
  const usual = meanOf(vectors.map((vector) => vector.subarray(0, sent.length)));
  const distance = (vector: Float32Array | Float64Array): number =>
    sent.reduce((sum, value, k) => sum + (value - usual[k]! - (vector[k]! - usual[k]!) / rows) ** 2, 0);
  const best = vectors.map((vector, i) => ({ i, far: distance(vector) })).sort((a, b) => a.far - b.far);
  return best.slice(0, rows).filter(({ i }) => i < rows).length / rows;
}
