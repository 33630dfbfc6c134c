/** A record's contributions as rows. On the wire they are columns: a message each would cost most of what a round with many workers costs. */
import type { Contribution, Record } from './gen/onebyte.ts';

/** A contribution as a record keeps it. */
export interface RecordEntry extends Omit<Contribution, 'measuredRound'> {
  /** The record's round − the measured round. */
  readonly staleness: number;
  readonly worker: number;
}

/** The record of `entries`, which are sorted. */
export function recordOf(round: number, exponent: number, entries: readonly RecordEntry[]): Record {
  return {
    round,
    exponent,
    workers: entries.map(({ worker }) => worker),
    staleness: emptyIfAll(
      0,
      entries.map(({ staleness }) => staleness),
    ),
    firstDirections: emptyIfAll(
      0,
      entries.map(({ firstDirection }) => firstDirection),
    ),
    directions: emptyIfAll(
      entries[0]?.gradientBytes.length,
      entries.map(({ gradientBytes }) => gradientBytes.length),
    ),
    gradientBytes: Buffer.concat(entries.map(({ gradientBytes }) => gradientBytes)),
  };
}

const emptyIfAll = (usual: number | undefined, column: number[]): number[] =>
  column.some((value) => value !== usual) ? column : [];

/** The record's contributions, in order; their bytes are views. @throws when its columns do not fit each other */
export function entriesOf(record: Record): RecordEntry[] {
  const { workers, staleness, firstDirections, gradientBytes } = record;
  const n = workers.length;
  const isColumn = (column: readonly number[]): boolean => column.length === 0 || column.length === n;
  const directions = directionsOf(record);
  const sum = directions.reduce((total, count) => total + count, 0);
  if (![staleness, firstDirections, directions].every(isColumn) || sum !== gradientBytes.length)
    throw new Error(
      `record ${record.round}: ${n} workers, ${staleness.length} ages, ${firstDirections.length} first directions, ${directions.length} numbers of directions that add up to ${sum}, and ${gradientBytes.length} gradient bytes do not fit each other`,
    );
  let end = 0;
  return workers.map((worker, i) => {
    const begin = end;
    end += directions[i]!;
    return {
      worker,
      staleness: staleness[i] ?? 0,
      firstDirection: firstDirections[i] ?? 0,
      gradientBytes: gradientBytes.subarray(begin, end),
    };
  });
}

/** Gradient bytes of each contribution. */
function directionsOf({ workers, directions, gradientBytes }: Record): readonly number[] {
  if (directions.length > 0) return directions;
  return workers.map(() => Math.floor(gradientBytes.length / workers.length));
}
