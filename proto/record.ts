/** A record's contributions as rows. On the wire they are columns: a message each would cost most of what a round with many workers costs. */
import assert from 'node:assert/strict';
import type { Contribution, Record } from './gen/onebyte.ts';

/** A contribution as a record keeps it. */
export interface RecordEntry extends Omit<Contribution, 'measuredRound'> {
  /** The record's round − the measured round. */
  readonly staleness: number;
  readonly worker: number;
}

/** The record of `entries`, which are sorted and hold equally many gradient bytes each. */
export function recordOf(round: number, exponent: number, entries: readonly RecordEntry[]): Record {
  const [first] = entries;
  assert(entries.every(({ gradientBytes }) => gradientBytes.length === first!.gradientBytes.length));
  return {
    round,
    exponent,
    workers: entries.map(({ worker }) => worker),
    staleness: emptyIfZero(entries.map(({ staleness }) => staleness)),
    firstDirections: emptyIfZero(entries.map(({ firstDirection }) => firstDirection)),
    gradientBytes: Buffer.concat(entries.map(({ gradientBytes }) => gradientBytes)),
  };
}

const emptyIfZero = (column: number[]): number[] => (column.some((value) => value !== 0) ? column : []);

/** The record's contributions, in order; their bytes are views. @throws when its columns do not fit each other */
export function entriesOf({ round, workers, staleness, firstDirections, gradientBytes }: Record): RecordEntry[] {
  const n = workers.length;
  const isColumn = (column: readonly number[]): boolean => column.length === 0 || column.length === n;
  const directions = gradientBytes.length / Math.max(1, n);
  const isWhole = n === 0 ? directions === 0 : Number.isInteger(directions);
  if (!isColumn(staleness) || !isColumn(firstDirections) || !isWhole)
    throw new Error(
      `record ${round}: ${n} workers, ${staleness.length} ages, ${firstDirections.length} directions and ${gradientBytes.length} gradient bytes do not fit each other`,
    );
  return workers.map((worker, i) => ({
    worker,
    staleness: staleness[i] ?? 0,
    firstDirection: firstDirections[i] ?? 0,
    gradientBytes: gradientBytes.subarray(i * directions, (i + 1) * directions),
  }));
}
