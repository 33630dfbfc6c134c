/** What a trainer process shows and stores of its run: metrics.jsonl, TensorBoard's files and, where asked for, the dashboard. */
import { basename, join } from 'node:path';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import type { RunConfig } from '../proto/run-config.ts';
import type { TrainerSettings } from '../settings/trainer-settings.ts';
import { startDashboard } from '../trainer/dashboard/server.ts';
import type { RunDescription } from '../trainer/metrics/line.ts';
import { openMetrics, type RunMetrics } from '../trainer/metrics/run-metrics.ts';
import { tensorboardWriter } from '../trainer/metrics/tensorboard.ts';
import type { Log } from './log.ts';

export interface RunMetricsOptions {
  readonly directory: string;
  readonly config: RunConfig;
  readonly settings: TrainerSettings;
  readonly rounds: number;
  readonly devRows: number;
  /** `host:port` of the dashboard; undefined: none. */
  readonly dashboard: string | undefined;
  readonly log: Log;
}

/** The run as the page describes it. The list of modules stays out: it can be long. */
export function describeRun(
  directory: string,
  { config, settings, rounds, devRows }: Pick<RunMetricsOptions, 'config' | 'settings' | 'rounds' | 'devRows'>,
): RunDescription {
  const { modules, ...adapter } = config.adapter;
  const { elements } = adapterLayout(modules, config.adapter.train);
  return {
    name: basename(directory),
    rounds,
    adapterElements: elements,
    shards: config.data.shards,
    devRows,
    config: { rounds, ...config, adapter: { ...adapter, modules: modules.length }, trainer: settings },
  };
}

/** Opens all of them. `url`: of the dashboard. @throws OperatingError usage: the dashboard's address, damaged files */
export async function openRunMetrics(
  options: RunMetricsOptions,
): Promise<{ metrics: RunMetrics; url: string | undefined }> {
  const { directory, dashboard, log } = options;
  const onError = (error: Error): void =>
    log.error({ err: error }, `metrics are not written any longer: ${error.message}`);
  const now = (): number => Date.now();
  const say = (text: string): void => log.warn(text);
  const metrics = await openMetrics({ directory, run: describeRun(directory, options), now, onError, say });
  metrics.add(tensorboardWriter(join(directory, 'tensorboard'), now, onError));
  if (dashboard === undefined) return { metrics, url: undefined };
  const server = await startDashboard(dashboard, metrics.history);
  metrics.add(server);
  log.info({ url: server.url }, `dashboard: ${server.url}`);
  return { metrics, url: server.url };
}
