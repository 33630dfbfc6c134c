/** Numbers per round, in columns of bounded length: when they are full, neighbours are merged and the stride doubles. */
import type { RoundLine } from './line.ts';

/** Rows that a series holds at most. */
export const MAX_ROWS = 4096;

/** One row: `stride` rounds, the last of them `round`. Sums, but for what is said. */
interface SeriesRow {
  round: number;
  rounds: number;
  ms: number;
  /** Longest wait for a contribution that came, ms. */
  slowestMs: number;
  /** Nats a row, as of the last round; 0 where nobody said any. */
  trainingLoss: number;
  /** Since the run began. */
  payloadBytes: number;
  float32Bytes: number;
  wireUp: number;
  wireDown: number;
}

const COLUMNS = [
  'round',
  'rounds',
  'ms',
  'slowestMs',
  'trainingLoss',
  'payloadBytes',
  'float32Bytes',
  'wireUp',
  'wireDown',
] as const satisfies readonly (keyof SeriesRow)[];
const SUMS = ['rounds', 'ms'] as const;

export type Columns = { [name in keyof SeriesRow]: number[] };

export interface Series {
  /** Rounds of a full row. */
  stride: number;
  readonly columns: Columns;
}

export const emptySeries = (): Series => ({
  stride: 1,
  columns: Object.fromEntries(COLUMNS.map((name) => [name, []])) as unknown as Columns,
});

export const rowsOf = ({ columns }: Series): number => columns.round.length;

/** Bytes of a run so far. */
type ByteTotals = Pick<SeriesRow, 'payloadBytes' | 'float32Bytes' | 'wireUp' | 'wireDown'>;

/** Adds a round behind all others. */
export function pushRound(series: Series, line: RoundLine, totals: ByteTotals): void {
  const { columns } = series;
  const last = rowsOf(series) - 1;
  const row: SeriesRow = {
    round: line.round,
    rounds: 1,
    ms: line.ms ?? 0,
    slowestMs: line.slowest[0]?.[1] ?? 0,
    trainingLoss: line.trainingLoss?.perRow ?? 0,
    ...totals,
  };
  if (last >= 0 && columns.rounds[last]! < series.stride) merge(columns, last, row);
  else for (const name of COLUMNS) columns[name].push(row[name]);
  if (rowsOf(series) > MAX_ROWS) halve(series);
}

/** Takes away all rows that hold a round after `round`. */
export function rewind({ columns }: Series, round: number): void {
  const kept = columns.round.findIndex((last) => last > round);
  if (kept >= 0) for (const name of COLUMNS) columns[name].length = kept;
}

/** Rows from `from` on. */
export const slice = ({ columns }: Series, from: number): Columns =>
  Object.fromEntries(COLUMNS.map((name) => [name, columns[name].slice(from)])) as unknown as Columns;

function merge(columns: Columns, index: number, row: SeriesRow): void {
  for (const name of COLUMNS) {
    const before = columns[name][index]!;
    const isSum = (SUMS as readonly string[]).includes(name);
    columns[name][index] = name === 'slowestMs' ? Math.max(before, row[name]) : isSum ? before + row[name] : row[name];
  }
}

function halve(series: Series): void {
  const old = series.columns;
  const rows = rowsOf(series);
  const fresh = emptySeries().columns;
  for (let i = 0; i < rows; i++) {
    const row = Object.fromEntries(COLUMNS.map((name) => [name, old[name][i]!])) as unknown as SeriesRow;
    if (i % 2 === 1) merge(fresh, (i - 1) / 2, row);
    else for (const name of COLUMNS) fresh[name].push(row[name]);
  }
  Object.assign(old, fresh);
  series.stride *= 2;
}
