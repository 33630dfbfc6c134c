/** A real trainer in this process: real gRPC at 127.0.0.1:0, real round log in a temporary directory. */
import { ServerCredentials } from '@grpc/grpc-js';
import { referenceBackend } from '../../kernels/reference.ts';
import { deferred } from '../../platform/deferred.ts';
import type { RunConfig } from '../../proto/run-config.ts';
import type { Report } from '../../trainer/core/state.ts';
import { runTrainer, type TrainerOptions, type TrainerResult } from '../../trainer/run-trainer.ts';
import { smallRunConfig, smallSettings } from './small-run.ts';
import { type Cleanup, temporaryDirectory } from './temporary-directory.ts';

export interface TestTrainer {
  readonly address: string;
  readonly config: RunConfig;
  readonly directory: string;
  readonly reports: readonly Report[];
  readonly result: Promise<TrainerResult>;
  /** Resolves with the first report, past or to come, that `accepts`; rejects when the trainer ends without one. */
  reported(accepts: (report: Report) => boolean): Promise<Report>;
  drain(): void;
}

/** Starts a trainer; it is drained after the test. */
export async function testTrainer(test: Cleanup, options: Partial<TrainerOptions> = {}): Promise<TestTrainer> {
  const directory = options.directory ?? temporaryDirectory();
  const config = options.config ?? smallRunConfig();
  const listening = deferred<string>();
  const reports: Report[] = [];
  const waiting = new Set<(report: Report) => void>();
  const drain = new AbortController();
  const result = runTrainer({
    config,
    settings: smallSettings(),
    rounds: 1_000_000,
    devRows: 0,
    directory,
    resume: false,
    initialAdapter: Buffer.alloc(0),
    backend: referenceBackend,
    access: { credentials: ServerCredentials.createInsecure(), joinToken: undefined },
    onReport: (report) => {
      reports.push(report);
      for (const tell of waiting) tell(report);
    },
    onListening: (address) => listening.resolve(address),
    drain: drain.signal,
    ...options,
  });
  result.catch((error) => listening.reject(error));
  test.after(async () => {
    drain.abort();
    await result.catch(() => {});
  });
  return {
    address: await listening.promise,
    config,
    directory,
    reports,
    result,
    drain: () => drain.abort(),
    reported: (accepts) =>
      new Promise((resolve, reject) => {
        const tell = (report: Report): void => {
          if (!accepts(report)) return;
          waiting.delete(tell);
          resolve(report);
        };
        waiting.add(tell);
        result.then(({ text }) => reject(new Error(`the trainer ended: ${text}`)), reject);
        for (const report of reports) tell(report);
      }),
  };
}

/** Accepts the report of a committed record with at least `round` rounds done. */
export const roundDone =
  (round: number) =>
  (report: Report): boolean =>
    report.kind === 'round' && report.round >= round;
