/** What the page is sent: all it shows, with only those rows of the series that it lacks. */
import { createHash } from 'node:crypto';
import { pace, type RunEvent, type RunHistory } from '../metrics/history.ts';
import type { EvaluationLine, RoundLine, RunDescription, WorkerRow } from '../metrics/line.ts';
import { type Columns, rowsOf, slice } from '../metrics/series.ts';

/** How far a page is: which run, which stride, how many rows and evaluations. Travels as the event's id, and back as Last-Event-ID. */
export interface Cursor {
  readonly run: string;
  readonly stride: number;
  readonly rows: number;
  readonly evaluations: number;
}

export const formatCursor = ({ run, stride, rows, evaluations }: Cursor): string =>
  `${run}.${stride}.${rows}.${evaluations}`;

/** @returns undefined for anything that is not a cursor: the page is then sent everything */
export function parseCursor(id: string | undefined): Cursor | undefined {
  const match = /^([0-9a-f]{16})\.(\d{1,10})\.(\d{1,10})\.(\d{1,10})$/.exec(id ?? '');
  if (!match) return undefined;
  const [stride, rows, evaluations] = match.slice(2).map(Number) as [number, number, number];
  return { run: match[1]!, stride, rows, evaluations };
}

export interface PageUpdate {
  /** Rows that the page keeps; `columns` go behind them. */
  readonly from: number;
  readonly stride: number;
  readonly columns: Columns;
  readonly summary: Summary;
  readonly recent: readonly RoundLine[];
  /** Evaluations that the page keeps; `evaluations` go behind them. */
  readonly evaluationsFrom: number;
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

/** What a page at `known` lacks, and where it then is. The last row and evaluation are sent again: there may be another in their place. */
export function updateFor(
  history: RunHistory,
  known: Cursor | undefined,
  withWorkers: boolean,
): { update: PageUpdate; cursor: Cursor } {
  const { series, run } = history;
  const evaluations = history.evaluations.length;
  const cursor = { run: pageKey(history), stride: series.stride, rows: rowsOf(series), evaluations };
  const same = known?.run === cursor.run && known.stride === cursor.stride;
  const fromOf = (what: 'rows' | 'evaluations'): number =>
    same ? Math.max(0, Math.min(known[what], cursor[what]) - 1) : 0;
  const [from, evaluationsFrom] = [fromOf('rows'), fromOf('evaluations')];
  const update: PageUpdate = {
    from,
    stride: series.stride,
    columns: slice(series, from),
    summary: summaryOf(history),
    recent: history.recent,
    evaluationsFrom,
    evaluations: history.evaluations.slice(evaluationsFrom),
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
