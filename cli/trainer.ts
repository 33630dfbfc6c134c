/** `onebyte trainer`: runs the trainer of a run. */
import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { readDataset } from '../data/dataset.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { hubNameOf } from '../model/hub/hub-cache.ts';
import { loadTokenizer } from '../model/tokenizer.ts';
import { splitAddress } from '../platform/address.ts';
import { usableCores } from '../platform/cores.ts';
import { prepareRun } from '../processes/prepare-run.ts';
import { type BriefReport, briefReport, tellParent } from '../processes/supervision.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import { type RunFile, readRunFile } from '../settings/run-file.ts';
import { runTrainer } from '../trainer/run-trainer.ts';
import { drainedCode, drainOnSignal, printJson, runCommand, wholeNumber, withSettings } from './command.ts';
import { serverAccess, type TlsFlags, withTlsFlags } from './credentials.ts';
import { findModel } from './find-model.ts';
import { type Health, withHealth } from './health.ts';
import { createLog, type Log, type Place } from './log.ts';
import { freshDirectory, settle } from './run-directory.ts';
import { openRunMetrics } from './run-metrics.ts';

interface Flags extends TlsFlags {
  readonly set: string[];
  readonly listen?: string;
  readonly out?: string;
  readonly rounds?: number;
  readonly resume?: boolean;
  readonly dashboard?: string;
  readonly health?: string;
  readonly json?: boolean;
}

export const trainerCommand = withTlsFlags(
  withSettings(
    new Command('trainer')
      .description('collect gradient bytes, make every round durable, tell all workers, write checkpoints')
      .argument('<run.yaml>', 'run file')
      .option('--listen <host:port>', 'address (trainer.listen)')
      .option('--out <dir>', 'run directory (out)')
      .option('--rounds <n>', 'records after which the run is done', wholeNumber)
      .option('--resume', 'go on with the round log in the run directory, or begin one there')
      .option(
        '--dashboard <host:port>',
        'serve the page of the run, /metrics and /status here; port 0: chosen by the system',
      )
      .option('--health <host:port>', 'serve grpc.health.v1 there in plain text, for probes')
      .option('--json', 'end with one line of JSON on stdout'),
  ),
)
  .addHelpText(
    'after',
    '\nExample:\n  onebyte trainer run.yaml --listen 0.0.0.0:50051 --out runs/first --tls-cert c.pem --tls-key k.pem\n',
  )
  .action((file: string, flags: Flags) => runCommand(() => train(file, flags)));

function train(file: string, flags: Flags): Promise<ExitCode> {
  const drain = drainOnSignal();
  return withHealth(flags.health, drain.signal, (health) => trainUntilDone(file, flags, drain, health));
}

async function trainUntilDone(
  file: string,
  flags: Flags,
  drain: ReturnType<typeof drainOnSignal>,
  health: Health,
): Promise<ExitCode> {
  const place: Place = {};
  const log = createLog({ role: 'trainer' }, place);
  const given = readRunFile(file, flags.set, { rounds: flags.rounds });
  const out = flags.out ?? given.out;
  const directory = flags.resume ? resolve(out) : freshDirectory(out, (text) => log.info(text));
  place.run = basename(directory);
  const model = await findModel(given.model, (text) => log.info(text), drain.signal);
  const run = await settle({ ...given, model }, directory);
  const { rounds } = run;
  const settings = { ...run.trainer, listen: flags.listen ?? run.trainer.listen };
  const access = serverAccess(splitAddress(settings.listen).host, flags, (text) => log.warn(text));
  const { config, initialAdapter } = await prepareRun(run);
  const { backend, reason } = await selectBackend(run.worker.kernels, run.worker.threads ?? usableCores());
  log.debug(`kernels: ${reason}`);
  const devRows = countDevRows(run);
  const { dashboard } = flags;
  const { metrics, url } = await openRunMetrics({ directory, config, settings, rounds, devRows, dashboard, log });
  if (url !== undefined) void tellParent({ kind: 'dashboard', url });
  try {
    const result = await runTrainer({
      config,
      settings,
      rounds,
      devRows,
      baseModel: hubNameOf(run.model) ?? run.model,
      directory,
      resume: flags.resume ?? false,
      initialAdapter,
      backend,
      access,
      drain: drain.signal,
      say: (text) => log.warn(text),
      onReport: (report, wire) => {
        const brief = briefReport(report);
        if (report.kind === 'round') place.round = report.round;
        logReport(log, brief);
        metrics.onReport(report, wire);
        void tellParent({ kind: 'trainer', report: brief, wire });
      },
      describeStatus: (status) => metrics.describe(status),
      onListening: (address, round, tornBytes) => {
        health.ready(true);
        if (tornBytes > 0)
          log.warn({ tornBytes }, `cut ${tornBytes} bytes of a frame that was not written whole off the round log`);
        log.info(
          { address, round, directory },
          `listening on ${address}, ${round} of ${rounds} rounds done, run directory ${directory}`,
        );
        place.round = round;
        metrics.begin(round);
        void tellParent({ kind: 'listening', address });
      },
    }).catch(async (error: Error) => {
      await metrics.end(error instanceof OperatingError ? error.exitCode : EXIT.internal, error.message);
      throw error;
    });
    log.info({ exitCode: result.exitCode }, result.text);
    await metrics.end(result.exitCode, result.text);
    await tellParent({ kind: 'trainerResult', result });
    const exitCode = drainedCode(result.exitCode, drain.interrupted());
    if (flags.json) printJson({ ...result, exitCode });
    return exitCode;
  } finally {
    await backend.close();
  }
}

/** Rows of the dev split; reading it now finds its faults before the run begins. */
function countDevRows(run: RunFile): number {
  if (run.data.dev === undefined) return 0;
  return readDataset(run.data.dev, loadTokenizer(run.model), run.data).examples.length;
}

/** Rounds between the lines a person reads. */
const LOG_EVERY = 10;

function logReport(log: Log, report: BriefReport): void {
  switch (report.kind) {
    case 'round': {
      const { round, gradients, contributions, members, ms } = report;
      const line = `round ${round}: ${gradients} gradients of ${contributions} contributions, ${members} workers, ${ms.toFixed(0)} ms`;
      log[round % LOG_EVERY === 0 ? 'info' : 'debug'](report, line);
      return;
    }
    case 'evaluation': {
      const accuracy = report.accuracy === undefined ? '' : `, accuracy ${(100 * report.accuracy).toFixed(1)} %`;
      log.info(
        report,
        `round ${report.round}: dev loss ${report.loss.toFixed(4)}${accuracy}${report.best ? ' (best)' : ''}`,
      );
      return;
    }
    case 'joined':
      log.info(report, `worker ${report.worker} (${report.name}) ${report.resumed ? 'is back' : 'joined'}`);
      return;
    case 'left':
      log.info(report, `worker ${report.worker} (${report.name}) left: ${report.reason}`);
      return;
    case 'disconnected':
      log.debug(report, `worker ${report.worker} (${report.name}) lost its connection`);
      return;
    case 'digest':
      log.debug(report, `worker ${report.worker}: replica ${report.sha256.slice(0, 16)} after ${report.round} rounds`);
      return;
    case 'waiting':
      log.warn(report, `waiting: ${report.reason}`);
      return;
    case 'late':
      log.debug(report, `worker ${report.worker}: late for round ${report.measuredRound}`);
      return;
    case 'deviant':
      log.error(report, `worker ${report.worker}: its replica differs after round ${report.round}`);
      return;
    case 'recovered':
      log.warn(report, `record ${report.round} was lost from the round log; a worker gave it back`);
      return;
    default:
      report satisfies never;
  }
}
