/**
 * What becomes of each kind of report: the sentence of the log, of whoever watches a simulation and of the page's events,
 * its level, and the fields of its line in metrics.jsonl. A new kind of report needs a row here and nothing elsewhere.
 */
import { z } from 'zod';
import { figuresText, lossText } from '../proto/evaluation.ts';
import type { Report } from './core/state.ts';

/** A report without the detail that only the metrics need. */
export type BriefReport = Exclude<Report, { kind: 'round' }> | Omit<Extract<Report, { kind: 'round' }>, 'detail'>;

export function briefReport(report: Report): BriefReport {
  if (report.kind !== 'round') return report;
  const { detail: _, ...brief } = report;
  return brief;
}

type Of<Kind extends Report['kind']> = Extract<BriefReport, { kind: Kind }>;

interface ReportKind<R> {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly text: (report: R) => string;
  /** Fields of its line in metrics.jsonl, beside `kind` and `at`: the report is an event of the run. Undefined: it is none. */
  readonly line: z.ZodRawShape | undefined;
}

const count = z.number().min(0);

/** `worker 3`, with the name where it says more than that. */
const who = ({ worker, name }: { worker: number; name: string }): string =>
  name === '' || name === `worker-${worker}` ? `worker ${worker}` : `worker ${worker} (${name})`;

export const REPORT_KINDS = {
  joined: {
    level: 'info',
    text: (report) =>
      `${who(report)} ${report.resumed ? 'is back' : 'joined'}${report.computesOn === undefined ? '' : `, computes on ${report.computesOn}`}`,
    line: { worker: count, name: z.string(), resumed: z.boolean(), computesOn: z.string().optional() },
  },
  left: {
    level: 'warn',
    text: (report) => `${who(report)} left: ${report.reason}`,
    line: { worker: count, name: z.string(), reason: z.string() },
  },
  disconnected: {
    level: 'debug',
    text: (report) => `${who(report)} lost its connection`,
    line: { worker: count, name: z.string() },
  },
  digest: {
    level: 'debug',
    text: ({ worker, sha256, round }) => `worker ${worker}: replica ${sha256.slice(0, 16)} after ${round} rounds`,
    line: undefined,
  },
  privacy: {
    level: 'debug',
    text: ({ worker, privacy }) =>
      `worker ${worker}: its rows have told ε ${privacy.spent.toFixed(2)} of ${privacy.epsilon} (δ ${privacy.delta})${privacy.exhausted ? '; it abstains' : ''}`,
    line: undefined,
  },
  round: {
    level: 'debug',
    text: ({ round, gradients, contributions, members, ms }) =>
      `round ${round}: ${gradients} gradients of ${contributions} contributions, ${members} workers, ${ms.toFixed(0)} ms`,
    line: undefined,
  },
  evaluation: {
    level: 'info',
    text: ({ round, best, ...figures }) =>
      `round ${round}: dev loss ${figuresText(figures, 4)}${best ? ' (best)' : ''}`,
    line: undefined,
  },
  worse: {
    level: 'warn',
    text: ({ startLoss, evaluations }) =>
      `dev loss above its start (${lossText({ loss: startLoss }, 4)}) for ${evaluations} evaluations: lower learning.learningRate, or look at the rows`,
    line: { round: count, startLoss: z.number(), evaluations: count },
  },
  waiting: { level: 'warn', text: ({ reason }) => `waiting: ${reason}`, line: { reason: z.string() } },
  late: {
    level: 'debug',
    text: ({ worker, measuredRound }) => `worker ${worker}: late for round ${measuredRound}`,
    line: undefined,
  },
  deviant: {
    level: 'error',
    text: ({ worker, round }) => `worker ${worker}: its replica differs after round ${round}`,
    line: { worker: count, round: count },
  },
  recovered: {
    level: 'warn',
    text: ({ round }) => `record ${round} was lost from the round log; a worker gave it back`,
    line: { round: count },
  },
  disputed: {
    level: 'warn',
    text: ({ round, firstRow, rows, workers }) =>
      `round ${round}: workers ${workers.join(' and ')} counted otherwise on dev rows ${firstRow}…${firstRow + rows - 1}`,
    line: { round: count, firstRow: count, rows: count, workers: z.array(count) },
  },
  unevaluated: {
    level: 'warn',
    text: ({ round, rows }) => `round ${round}: ${rows} dev rows are not evaluated, no worker told in time`,
    line: { round: count, rows: count },
  },
  doubted: {
    level: 'warn',
    text: ({ round, members }) =>
      `after ${round} rounds ${members} workers hold the same replica, and it is not the trainer's: the round log is replayed`,
    line: { round: count, members: count },
  },
  settled: {
    level: 'error',
    text: ({ round, isTrainerRight }) =>
      isTrainerRight
        ? `the round log gives the trainer's replica of round ${round}: the workers that hold another are expelled`
        : `the round log gives the workers' replica of round ${round}: the trainer's own was damaged and is made anew from the log`,
    line: { round: count, isTrainerRight: z.boolean() },
  },
  passedOver: {
    level: 'warn',
    text: ({ round, problem }) => `the round log's evaluation of round ${round} is passed over: ${problem}`,
    line: { round: count, problem: z.string() },
  },
} as const satisfies { readonly [Kind in Report['kind']]: ReportKind<Of<Kind>> };

type Kinds = typeof REPORT_KINDS;

/** Kinds of reports that are events of the run: they stand in metrics.jsonl and on the page. */
export type EventKind = { [Kind in keyof Kinds]: Kinds[Kind]['line'] extends undefined ? never : Kind }[keyof Kinds];
export type EventReport = Extract<Report, { kind: EventKind }>;

export const isEvent = (report: Report | BriefReport): report is EventReport =>
  REPORT_KINDS[report.kind].line !== undefined;

/** The level of a report, and the sentence that says it. */
export function told(report: BriefReport): { level: ReportKind<never>['level']; text: string } {
  const { level, text } = REPORT_KINDS[report.kind] as ReportKind<BriefReport>;
  return { level, text: text(report) };
}
