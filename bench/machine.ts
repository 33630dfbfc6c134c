/** The machine that a benchmark ran on, as its results state it. */
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Load average over a minute when the benchmark began: above `cores`, its times are not to be believed. */
  readonly loadBefore: number;
}

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release()}`,
  node: process.version,
  loadBefore: Math.round((loadavg()[0] ?? 0) * 10) / 10,
});
