/** What `onebyte simulate` says of a run that is done: a line of JSON, or a table. */
import { dirname } from 'node:path';
import type { SimulationResult } from '../processes/simulation.ts';
import { type Figures, lossText, percent } from '../proto/evaluation.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';
import type { KeptBudget } from '../worker/core/state.ts';
import { standText } from '../worker/privacy/privacy-budget.ts';
import { bytes, duration } from './format.ts';

/** How a run did on its test split; without one figures are undefined. */
export interface Tested {
  /** The checkpoint that was best on the dev split, where it is not the last one. */
  readonly best: string | undefined;
  /** Before the run, after it and under `best`. */
  readonly figures: readonly [Figures | undefined, Figures | undefined, Figures | undefined];
}

/** What `--json` prints beside the trainer's result. */
interface Summary extends Omit<TrainerResult, 'exitCode' | 'text'> {
  readonly accuracyBefore: number | undefined;
  readonly accuracyAfter: number | undefined;
  /** Nats a row. */
  readonly lossBefore: number | undefined;
  readonly lossAfter: number | undefined;
  /** Nats a token. */
  readonly lossPerTokenBefore: number | undefined;
  readonly lossPerTokenAfter: number | undefined;
  readonly seconds: number;
  /** The replica's digest in the trainer, then in every worker that saw the end. */
  readonly replicaDigests: readonly string[];
  readonly restarts: number;
  /** Of the worker whose rows have told most, where workers have a privacy budget. */
  readonly privacy?: (KeptBudget['stand'] & { readonly ledger: string }) | undefined;
  /** The checkpoint that was best on the dev split and its test split, where it is not the last one. */
  readonly best?: {
    readonly checkpoint: string;
    readonly accuracy: number | undefined;
    readonly loss: number | undefined;
    readonly lossPerToken: number | undefined;
  };
}

/** @param seconds all that it took */
export function summarise(
  { trainer, workers, restarts, budget }: SimulationResult,
  { best, figures: [before, after, ofBest] }: Tested,
  seconds: number,
): Summary {
  const { exitCode: _, text: __, ...counts } = trainer;
  // A worker that was still catching up when the run ended does not hold its last adapter.
  const atTheEnd = workers.filter(({ rounds }) => rounds === trainer.rounds);
  return {
    accuracyBefore: before?.accuracy,
    accuracyAfter: after?.accuracy,
    lossBefore: before?.loss,
    lossAfter: after?.loss,
    lossPerTokenBefore: before?.lossPerToken,
    lossPerTokenAfter: after?.lossPerToken,
    ...counts,
    seconds,
    replicaDigests: [trainer.replicaDigest, ...atTheEnd.flatMap(({ replicaDigest }) => replicaDigest ?? [])],
    restarts,
    ...(budget && { privacy: { ...budget.stand, ledger: budget.ledger } }),
    ...(best && {
      best: { checkpoint: best, accuracy: ofBest?.accuracy, loss: ofBest?.loss, lossPerToken: ofBest?.lossPerToken },
    }),
  };
}

/**
 * The same for a person.
 * @param tested there is a test split
 * @param since what bytes are counted from, where it is not the beginning of the run
 */
export function summaryTable(s: Summary, tested: boolean, since: string): string {
  const part = (x: number | undefined): string => (x === undefined ? '–' : percent(x));
  const loss = (x: number | undefined, lossPerToken: number | undefined): string =>
    lossText({ loss: x, lossPerToken }, 3);
  const same = new Set(s.replicaDigests).size === 1;
  const hasAccuracy = s.accuracyBefore !== undefined || s.accuracyAfter !== undefined;
  const bestAccuracy = s.best?.accuracy === undefined ? '' : `accuracy ${percent(s.best.accuracy)}, `;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['test accuracy', hasAccuracy ? `${part(s.accuracyBefore)} before, ${part(s.accuracyAfter)} after` : undefined],
    [
      'test loss',
      tested
        ? `${loss(s.lossBefore, s.lossPerTokenBefore)} before, ${loss(s.lossAfter, s.lossPerTokenAfter)} after`
        : undefined,
    ],
    ['rounds', `${s.rounds}`],
    ['gradient bytes', `${s.gradients} applied${since && ' in all'}, ${s.payloadBytesUp} sent${since}`],
    ['on the wire', `${bytes(s.wireBytesUp)} up, ${bytes(s.wireBytesDown)} down, all workers together${since}`],
    ['privacy', s.privacy && `${standText(s.privacy)} spent, in all runs; ledger ${s.privacy.ledger}`],
    ['time', duration(s.seconds)],
    ['restarts', s.restarts > 0 ? `${s.restarts}` : undefined],
    [
      'replicas',
      `${s.replicaDigests.length} ${same ? 'hold the same adapter' : 'DIFFER'}: ${s.adapterDigest.slice(0, 16)}…`,
    ],
    ['checkpoint', s.checkpointDir ?? '–'],
    [
      'best on dev',
      s.best && `${s.best.checkpoint}${tested ? `: test ${bestAccuracy}loss ${lossText(s.best, 3)}` : ''}`,
    ],
    ['round log', s.roundLog],
    ['page', `onebyte view ${dirname(s.roundLog)}`],
  ];
  return rows.map(([name, value]) => (value === undefined ? '' : `${name.padEnd(15)}${value}\n`)).join('');
}
