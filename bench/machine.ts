/** The machine that a benchmark ran on, as its results state it. */
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { ownPackage } from '../platform/own-package.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Versions of onebyte and of what its times depend on. */
  readonly versions: { readonly [name: string]: string };
  /** Load average over a minute when the benchmark began: above `cores`, its times are not to be believed. */
  readonly loadBefore: number;
}

export const describeMachine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release()}`,
  node: process.version,
  versions: versions(),
  loadBefore: Math.round((loadavg()[0] ?? 0) * 10) / 10,
});

function versions(): { [name: string]: string } {
  const { version, dependencies } = ownPackage();
  const named = ['onnxruntime-node', '@grpc/grpc-js'].map((name) => [name, dependencies[name]]);
  return { onebyte: version, ...Object.fromEntries(named) };
}
