/** Child module: one contribution as a worker on this machine would measure it, with its time and the process's memory. */
import { OperatingError } from '../proto/operating-error.ts';
import { recordOf } from '../proto/record.ts';
import { Compute, type ComputeOptions } from '../worker/compute.ts';
import { tellParent } from './parent.ts';

export interface ProbeRequest {
  readonly compute: ComputeOptions;
  /** Contributions of a record. */
  readonly workers: number;
  readonly devRows: number;
  /** Contributions that a privacy budget is planned for. */
  readonly rounds: number;
  /** Exponent of the first record. */
  readonly exponent: number;
}

/** Seconds are of this machine, bytes of this process. */
export interface Probe {
  /** One contribution of K directions. */
  readonly contributionSeconds: number;
  /** One record of all workers. */
  readonly recordSeconds: number;
  /** One row of the dev split; undefined without one. */
  readonly devRowSeconds: number | undefined;
  readonly peakBytes: number;
}

export type ProbeReply = Probe | { readonly problem: string };

/** Contributions that are timed after the first: as many as fit, at least two. */
const TIMED_SECONDS = 3;
const MOST_TIMED = 16;
/** Dev rows that are timed. */
const TIMED_ROWS = 16;

async function secondsOf(action: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await action();
  return (performance.now() - begin) / 1000;
}

async function probe({ compute: options, workers, devRows, rounds, exponent }: ProbeRequest): Promise<Probe> {
  const compute = await Compute.create(options);
  try {
    await compute.readData(0, devRows, Math.max(rounds, 1 + MOST_TIMED));
    const { gradientBytes } = (await compute.measure(0)).contribution;
    const times: number[] = [];
    while (times.length < 2 || (times.length < MOST_TIMED && times.reduce((a, b) => a + b) < TIMED_SECONDS))
      times.push(await secondsOf(() => compute.measure(0)));
    const rows = Math.min(devRows, TIMED_ROWS);
    const evaluation = rows === 0 ? 0 : await secondsOf(() => compute.evaluate({ round: 0, firstRow: 0, rows }));
    const entries = Array.from({ length: workers }, (_, worker) => ({
      staleness: 0,
      worker,
      firstDirection: 0,
      gradientBytes,
    }));
    const recordSeconds = await secondsOf(() => compute.apply(recordOf(0, exponent, entries)));
    return {
      contributionSeconds: times.sort((a, b) => a - b)[times.length >> 1]!,
      recordSeconds,
      devRowSeconds: rows === 0 ? undefined : evaluation / rows,
      peakBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    await compute.close();
  }
}

process.once('message', (request: ProbeRequest) => {
  void probe(request)
    .catch((error: Error) => ({ problem: error instanceof OperatingError ? error.message : `${error.stack}` }))
    .then((reply: ProbeReply) => tellParent(reply))
    .then(() => process.exit());
});
