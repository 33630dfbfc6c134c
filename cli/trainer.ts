/** `onebyte trainer`: runs the trainer of a run. */
import { basename } from 'node:path';
import { Command } from 'commander';
import { countRows } from '../data/dataset.ts';
import { rateOf } from '../kernels/learning-rule.ts';
import { selectBackend } from '../kernels/select-backend.ts';
import { hubNameOf } from '../model/hub/hub-cache.ts';
import { splitAddress } from '../platform/address.ts';
import { usableCores } from '../platform/cores.ts';
import { type Health, withHealth } from '../processes/health.ts';
import { tellParent } from '../processes/parent.ts';
import { prepareRun } from '../processes/prepare-run.ts';
import type { TrainerChildMessage } from '../processes/trainer-messages.ts';
import { EXIT, type ExitCode, OperatingError, usageError } from '../proto/operating-error.ts';
import type { RunConfig } from '../proto/run-config.ts';
import { type RunFile, readRunFile } from '../settings/run-file.ts';
import { EARLY_ENDS } from '../settings/trainer-settings.ts';
import { type BriefReport, briefReport, told } from '../trainer/report-kinds.ts';
import { runTrainer } from '../trainer/run-trainer.ts';
import { LockLost } from '../trainer/store/lock-file.ts';
import { drainedCode, drainOnSignal, printJson, runCommand, wholeNumber, withSettings } from './command.ts';
import { findModel } from './find-model.ts';
import { plural } from './format.ts';
import { createLog, type Log, type Place } from './log.ts';
import { runDirectory, settle, writeRunFile } from './run-directory.ts';
import { openRunMetrics } from './run-metrics.ts';
import { serverAccess } from './server-access.ts';
import { type TlsFlags, withTlsFlags } from './tls-flags.ts';

interface Flags extends TlsFlags {
  readonly set: string[];
  readonly listen?: string;
  readonly out?: string;
  readonly rounds?: number;
  readonly decayRounds?: number;
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
      .option(
        '--decay-rounds <n>',
        'from the next record on the learning rate is that of a run that falls over n rounds, counted from its first; 0: constant',
        wholeNumber,
      )
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
  const resume = flags.resume ?? false;
  const directory = runDirectory({ flag: flags.out, ofFile: given.out, resume }, (text) => log.info(text));
  place.run = basename(directory);
  const model = await findModel(given.model, (text) => log.info(text), drain.signal);
  const { run, decayChanges } = await settle({ ...given, model }, directory, flags.decayRounds);
  const { rounds } = run;
  const settings = { ...run.trainer, listen: flags.listen ?? run.trainer.listen };
  const access = serverAccess(splitAddress(settings.listen).host, flags, (text) => log.warn(text));
  const { config, initialAdapter } = await prepareRun(run, decayChanges);
  const { directionStripes } = config.learning;
  if (run.learning.directionStripes === undefined)
    log.info({ directionStripes }, `learning.directionStripes ${directionStripes}, chosen for this adapter and round`);
  const { backend, reason } = await selectBackend(run.worker.kernels, run.worker.threads ?? usableCores());
  log.debug(`kernels: ${reason}`);
  const devRows = await countDevRows(run);
  const { dashboard } = flags;
  const { metrics, url } = await openRunMetrics({ directory, config, settings, rounds, devRows, dashboard, log });
  if (url !== undefined) void tellParent<TrainerChildMessage>({ kind: 'dashboard', url });
  try {
    const result = await runTrainer({
      config,
      settings,
      rounds,
      devRows,
      baseModel: hubNameOf(run.model) ?? run.model,
      directory,
      resume,
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
        void tellParent<TrainerChildMessage>({ kind: 'trainer', report: brief, wire });
      },
      history: metrics.history,
      onListening: (address, round, tornBytes) => {
        writeRunFile(run, directory);
        health.ready(true);
        if (tornBytes > 0)
          log.warn({ tornBytes }, `cut ${tornBytes} bytes of a frame that was not written whole off the round log`);
        log.info(
          { address, round, directory },
          `listening on ${address}, ${round} of ${rounds} rounds done, run directory ${directory}`,
        );
        const resumed = round === 0 ? undefined : resumedText(config, round);
        if (resumed !== undefined) log.info(resumed);
        place.round = round;
        metrics.begin(round);
        void tellParent<TrainerChildMessage>({ kind: 'listening', address, resumed });
      },
    }).catch(async (error: Error) => {
      if (error instanceof LockLost) metrics.letGo();
      await metrics.end(error instanceof OperatingError ? error.exitCode : EXIT.internal, error.message);
      throw error;
    });
    log.info({ exitCode: result.exitCode }, result.text);
    await metrics.end(result.exitCode, result.text);
    await tellParent<TrainerChildMessage>({ kind: 'trainerResult', result });
    const exitCode = drainedCode(result.exitCode, drain.interrupted());
    if (flags.json) printJson({ ...result, exitCode });
    return exitCode;
  } finally {
    await backend.close();
  }
}

/** Where a run goes on that was begun before. */
function resumedText({ learning }: RunConfig, round: number): string {
  const rate = rateOf(learning, round);
  const part = rate === learning.learningRate ? '' : `, ${(rate / learning.learningRate).toPrecision(3)} of the first`;
  return `goes on after ${plural(round, 'round')} at learning rate ${rate.toPrecision(3)}${part} (--decay-rounds, counted from round 0, changes how it falls)`;
}

/** Rows of the dev split; reading it now finds its faults before the run begins. A trainer that may not see it is told how many. */
async function countDevRows({ data, model, trainer }: RunFile): Promise<number> {
  if (data.dev === undefined) {
    for (const key of EARLY_ENDS)
      if (trainer[key] !== undefined && trainer.devRows === undefined)
        throw usageError(
          `trainer.${key}: without a dev split nothing is evaluated; give data.dev, or trainer.devRows where the workers have --dev`,
        );
    return trainer.devRows ?? 0;
  }
  const length = await countRows(data.dev, model, data);
  if (trainer.devRows !== undefined && trainer.devRows !== length)
    throw usageError(
      `trainer.devRows ${trainer.devRows}: ${data.dev} has ${length} rows; leave one of the two keys out`,
    );
  return length;
}

/** Rounds between the lines a person reads. */
const LOG_EVERY = 10;

function logReport(log: Log, report: BriefReport): void {
  const { level, text } = told(report);
  const isShown = report.kind === 'round' && report.round % LOG_EVERY === 0;
  log[isShown ? 'info' : level](report, text);
}
