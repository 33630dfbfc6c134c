/** A worker with a privacy budget, or one that draws its rows in the same way and has none, as benchmarks play it. */
import { applyRecord, type ReplicaState } from '../kernels/replica.ts';
import type { TokenRow } from '../model/token-row.ts';
import { usageError } from '../proto/operating-error.ts';
import type { RecordEntry } from '../proto/record.ts';
import { gradientBytes } from '../worker/estimators/contribution.ts';
import type { EstimatorContext } from '../worker/estimators/estimator.ts';
import { type Mechanism, privateGradients } from '../worker/privacy/mechanism.ts';
import { mechanismFor } from '../worker/privacy/privacy-budget.ts';
import { secretRandom } from '../worker/privacy/random-source.ts';
import { type Lab, nextRecord, type Trial } from './lab.ts';

export const DELTA = 1e-5;
/** Longer than the slopes of any row: nothing is cut. */
const NO_CLIP = 1e9;

/** @param epsilon of `rounds` contributions; 0: no noise and no clip */
export function mechanismOf(
  epsilon: number,
  clip: number,
  shard: { readonly size: number; readonly rows: number },
  rounds: number,
): Mechanism {
  const { size, rows } = shard;
  if (epsilon === 0) return { clip: NO_CLIP, noise: 0, expectedRows: rows, samplingRate: rows / size };
  const mechanism = mechanismFor({ epsilon, delta: DELTA, clip, answerMs: 0 }, shard, rounds);
  if (!mechanism)
    throw usageError(`ε ${epsilon}: no noise is enough for ${rounds} contributions of ${rows} of ${size} rows`);
  return mechanism;
}

const random = secretRandom();

export async function privateEntry(
  context: EstimatorContext,
  replica: ReplicaState,
  shard: readonly TokenRow[],
  mechanism: Mechanism,
): Promise<RecordEntry> {
  const gradients = await privateGradients(context, replica, 0, shard, mechanism, random);
  const bytes = gradientBytes(context, replica, 0, gradients);
  return { staleness: 0, worker: context.worker, firstDirection: 0, gradientBytes: bytes };
}

/** A run in which all workers have the same budget; without one rows are drawn in the same way. */
export async function trainPrivately(
  lab: Lab,
  { rule, workers, ...start }: Trial,
  { epsilon, clip, rounds }: { epsilon: number; clip: number; rounds: number },
): Promise<{ theta: Float32Array; shard: number; noise: number }> {
  const { rows } = workers[0]!.context.learning;
  // Shards differ by a row at most: the smallest has the largest rate.
  const size = Math.min(...workers.map(({ shard }) => shard.length));
  const mechanism = mechanismOf(epsilon, clip, { size, rows }, rounds);
  let { replica } = start;
  for (let round = 0; round < rounds; round++) {
    const entries: RecordEntry[] = [];
    for (const { context, shard } of workers) entries.push(await privateEntry(context, replica, shard, mechanism));
    replica = await applyRecord(replica, rule, nextRecord(replica, entries), lab.backend);
  }
  return { theta: replica.theta, shard: size, noise: mechanism.noise };
}
