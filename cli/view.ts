/** `onebyte view`: the page of a run that is over, from its run directory. */
import { once } from 'node:events';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import type { RunConfig } from '../proto/run-config.ts';
import { TrainerSettings } from '../settings/trainer-settings.ts';
import { startDashboard } from '../trainer/dashboard/server.ts';
import { observe, type RunHistory } from '../trainer/metrics/history.ts';
import { type PastRun, readPastRun } from '../trainer/metrics/metrics-file.ts';
import { drainOnSignal, printJson, runCommand, toStderr } from './command.ts';
import { describeRun } from './run-metrics.ts';

interface Flags {
  readonly json?: boolean;
  readonly listen: string;
}

export const viewCommand = new Command('view')
  .description('serve the page of a run that is over, until Ctrl-C')
  .argument('<run directory>', 'what --out named')
  .option('--listen <host:port>', 'address; port 0: chosen by the system', '127.0.0.1:0')
  .option('--json', 'one line of JSON with the URL on stdout')
  .addHelpText('after', '\nExample:\n  onebyte view runs/first\n')
  .action((directory: string, flags: Flags) => runCommand(() => view(resolve(directory), flags)));

async function view(directory: string, { listen, json }: Flags): Promise<ExitCode> {
  const drain = drainOnSignal();
  const dashboard = await startDashboard(listen, await pastHistory(directory));
  toStderr(`dashboard: ${dashboard.url}`);
  if (json) printJson({ url: dashboard.url });
  if (!drain.signal.aborted) await once(drain.signal, 'abort');
  await dashboard.close();
  return EXIT.done;
}

/** The history of the run as its files tell it. Nothing is written. */
async function pastHistory(directory: string): Promise<RunHistory> {
  const { history, damage, missing, config } = await readPastRun(directory);
  if (config === undefined) throw usageError(`${directory}: no run directory, it holds no round.log`);
  if (damage !== undefined) toStderr(`${damage}; the page shows what the round log knows`);
  history.run ??= describeFromLog(directory, config, missing);
  for (const line of missing) observe(history, line);
  if (history.state !== 'ended') {
    history.state = 'ended';
    history.text = 'as the run directory tells it; no trainer said how it ended';
  }
  return history;
}

/** Where metrics.jsonl is gone: the trainer's settings are not in the log, and their defaults would mislead. */
function describeFromLog(directory: string, config: RunConfig, missing: PastRun['missing']): RunHistory['run'] {
  const rounds = missing.filter(({ kind }) => kind === 'round').length;
  const described = describeRun(directory, { config, settings: TrainerSettings.parse({}), rounds, devRows: 0 });
  const { trainer: _, ...known } = described.config;
  return { ...described, config: known };
}
