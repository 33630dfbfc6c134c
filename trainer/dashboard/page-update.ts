/** What the page is sent: all it shows, with only those rows of the series that it lacks. */
import { createHash } from 'node:crypto';
import { pace, type RunEvent, type RunHistory } from '../metrics/history.ts';
import type { EvaluationLine, RoundLine, RunDescription, WorkerRow } from '../metrics/line.ts';
import { type Columns, rowsOf, slice } from '../metrics/series.ts';

/** How far a page is: which run, which stride, how many rows. Travels as the event's id, and back as Last-Event-ID. */
export interface Cursor {
  readonly run: string;
  readonly stride: number;
  readonly rows: number;
}

export const formatCursor = ({ run, stride, rows }: Cursor): string => `${run}.${stride}.${rows}`;

/** @returns undefined for anything that is not a cursor: the page is then sent everything */
export function parseCursor(id: string | undefined): Cursor | undefined {
  const match = /^([0-9a-f]{16})\.(\d{1,10})\.(\d{1,10})$/.exec(id ?? '');
  return match ? { run: match[1]!, stride: Number(match[2]), rows: Number(match[3]) } : undefined;
}

export interface PageUpdate {
  /** Rows that the page keeps; `columns` go behind them. */
  readonly from: number;
  readonly stride: number;
  readonly columns: Columns;
  readonly summary: Summary;
  readonly recent: readonly RoundLine[];
  readonly evaluations: readonly EvaluationLine[];
  readonly events: readonly RunEvent[];
  readonly run: RunDescription | undefined;
  /** Absent when the page was sent them a moment ago. */
  readonly workers: readonly WorkerRow[] | undefined;
}

/** A few numbers on the whole run. Also what `/status` holds. */
export interface Summary {
  readonly name: string;
  readonly state: RunHistory['state'];
  readonly text: string;
  readonly exitCode: number | undefined;
  readonly round: number;
  readonly rounds: number;
  readonly roundsPerSecond: number;
  readonly secondsLeft: number | undefined;
  readonly startedAt: number | undefined;
  readonly updatedAt: number | undefined;
  readonly starts: number;
  readonly totals: RunHistory['totals'];
  readonly evaluation: EvaluationLine | undefined;
  readonly best: EvaluationLine | undefined;
}

export function summaryOf(history: RunHistory): Summary {
  const { run, state, text, exitCode, round, startedAt, updatedAt, starts, totals, best } = history;
  return {
    name: run?.name ?? '',
    state,
    text,
    exitCode,
    round,
    rounds: run?.rounds ?? round,
    ...pace(history),
    startedAt,
    updatedAt,
    starts,
    totals,
    evaluation: history.evaluations.at(-1),
    best,
  };
}

/** What a page at `known` lacks, and where it then is. The last row is sent again: it may have grown. */
export function updateFor(
  history: RunHistory,
  known: Cursor | undefined,
  withWorkers: boolean,
): { update: PageUpdate; cursor: Cursor } {
  const { series, run } = history;
  const cursor = { run: pageKey(history), stride: series.stride, rows: rowsOf(series) };
  const same = known?.run === cursor.run && known.stride === cursor.stride;
  const from = same ? Math.max(0, Math.min(known.rows, cursor.rows) - 1) : 0;
  const update: PageUpdate = {
    from,
    stride: series.stride,
    columns: slice(series, from),
    summary: summaryOf(history),
    recent: history.recent,
    evaluations: history.evaluations,
    events: history.events,
    run,
    workers: withWorkers ? [...history.workers.values()] : undefined,
  };
  return { update, cursor };
}

/** Tells runs apart that are served at one address one after the other. */
const pageKey = ({ run, startedAt }: RunHistory): string =>
  createHash('sha256')
    .update(JSON.stringify([run?.config, run?.name, startedAt]))
    .digest('hex')
    .slice(0, 16);
