/** `onebyte worker`: measures directions for a trainer. */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { splitAddress } from '../platform/address.ts';
import { usableCores } from '../platform/cores.ts';
import { checkReadable } from '../platform/lines.ts';
import { type Health, withHealth } from '../processes/health.ts';
import { tellParent } from '../processes/parent.ts';
import { prepareRun } from '../processes/prepare-run.ts';
import type { WorkerChildMessage } from '../processes/worker-messages.ts';
import { EXIT, type ExitCode, OperatingError, usageError } from '../proto/operating-error.ts';
import { comparable, type RunConfig, runConfigDifferences } from '../proto/run-config.ts';
import { nameProblem } from '../proto/worker-name.ts';
import { type RunFile, readRunFile, settled, workerSettings } from '../settings/run-file.ts';
import { beginText, spentText, standText } from '../worker/privacy/privacy-budget.ts';
import { runWorker, type WorkerReport } from '../worker/run-worker.ts';
import { proxyNotice } from '../worker/transport/proxy.ts';
import { clientAccess } from './client-access.ts';
import { drainedCode, drainOnSignal, printJson, repeated, runCommand, wholeNumber, withSettings } from './command.ts';
import { findModel } from './find-model.ts';
import { identityFile } from './identity-file.ts';
import { createLog, type Log, type Place } from './log.ts';
import { threadCount } from './thread-count.ts';
import { type TlsFlags, withTlsFlags } from './tls-flags.ts';
import { workerNumber } from './worker-number.ts';

interface Flags extends TlsFlags {
  readonly set: string[];
  readonly trainer: string;
  readonly name?: string;
  readonly number?: number;
  readonly identity?: string;
  readonly model?: string;
  readonly data: readonly string[];
  readonly dev?: string;
  readonly threads?: number;
  readonly health?: string;
  readonly json?: boolean;
}

export const workerCommand = withTlsFlags(
  withSettings(
    new Command('worker')
      .description(
        'join a trainer: measure projected gradients on own data, send one byte for each, apply every record',
      )
      .argument(
        '[run.yaml]',
        "run file; without one, the run config is the trainer's and --model and --data are needed",
      )
      .requiredOption('--trainer <host:port>', 'address of the trainer')
      .option(
        '--name <name>',
        'name of this worker, unique in the run (default: worker-NUMBER, or host and process id)',
      )
      .option(
        '--number <n>',
        'worker number to ask for (default: JOB_COMPLETION_INDEX, RANK or PET_NODE_RANK where set)',
        wholeNumber,
      )
      .option(
        '--identity <file>',
        'keep the secret of this worker here (mode 0600): started again with the same --name or --number, it goes on at once, not after its lease',
      )
      .option('--model <dir>', 'model directory or org/name on this machine')
      .option(
        '--data <file>',
        'training rows of this worker alone (all of the file is its shard); may be repeated',
        repeated,
        [],
      )
      .option('--dev <file>', 'dev split, the same on all machines')
      .option('--threads <n>', 'threads (worker.threads)', threadCount)
      .option('--health <host:port>', 'serve grpc.health.v1 there in plain text, for probes')
      .option('--json', 'end with one line of JSON on stdout'),
  ),
)
  .addHelpText(
    'after',
    '\nExample:\n  onebyte worker --trainer 10.0.0.5:50051 --tls-ca ca.pem --model ./SmolLM2-135M --data my-rows.jsonl --dev dev.jsonl\n',
  )
  .action((file: string | undefined, flags: Flags) => runCommand(() => work(file, flags)));

function work(file: string | undefined, flags: Flags): Promise<ExitCode> {
  const drain = drainOnSignal();
  return withHealth(flags.health, drain.signal, (health) => workUntilDone(file, flags, drain, health));
}

async function workUntilDone(
  file: string | undefined,
  flags: Flags,
  drain: ReturnType<typeof drainOnSignal>,
  health: Health,
): Promise<ExitCode> {
  const place: Place = {};
  const log = createLog({ role: 'worker' }, place);
  const asked = workerNumber(flags.number, process.env);
  if (asked) log.info(asked, `asking for worker number ${asked.number} (${asked.source})`);
  const name = flags.name ?? (asked === undefined ? `${hostname()}-${process.pid}` : `worker-${asked.number}`);
  const wrong = nameProblem(name);
  if (wrong !== undefined) throw usageError(`--name ${JSON.stringify(name)}: ${wrong}`);
  const run = file === undefined ? undefined : readRunFile(file, flags.set);
  const settings = run?.worker ?? workerSettings(flags.set);
  const model = flags.model ?? run?.model;
  const trainFiles = flags.data.length > 0 ? flags.data : [run?.data.train ?? []].flat();
  if (model === undefined || trainFiles.length === 0)
    throw usageError('without a run file, --model and --data are needed');
  // A wrong name is said before gigabytes are fetched for it.
  for (const rows of [...trainFiles, devFile(flags, run)]) if (rows !== undefined) checkReadable(rows);
  const modelDirectory = await findModel(model, (text) => log.info(text), drain.signal);
  const own = run && { ...run, model: modelDirectory };
  const proxy = proxyNotice(flags.trainer);
  if (proxy !== undefined) log.info(proxy);
  const result = await runWorker({
    trainer: flags.trainer,
    access: clientAccess(splitAddress(flags.trainer).host, flags, (text) => log.warn(text)),
    name,
    requestedWorker: asked?.number,
    ...(flags.identity === undefined ? {} : { identity: identityFile(flags.identity, (text) => log.warn(text)) }),
    checkConfig: async (theirs) =>
      checkConfig(
        own && (await prepareRun(settled(own, theirs), theirs.learning.decayChanges)).config,
        theirs,
        file ?? '',
      ),
    compute: {
      modelDirectory,
      trainFiles: trainFiles.map((file) => resolve(file)),
      devFile: devFile(flags, run),
      ownData: flags.data.length > 0,
      settings,
      threads: flags.threads ?? settings.threads ?? usableCores(),
    },
    onReport: (report) => {
      if (report.kind === 'joined') place.worker = report.worker;
      if (report.kind === 'joined' || report.kind === 'round') place.round = report.round;
      // From its joining on a worker does its part, until it has to look for the trainer again.
      if (report.kind !== 'ready' && report.kind !== 'late') health.ready(report.kind !== 'retrying');
      logReport(log, report);
      void tellParent<WorkerChildMessage>({ kind: 'worker', report });
    },
    drain: drain.signal,
  });
  const spent = result.privacy ? `; privacy budget: ${standText(result.privacy)} spent` : '';
  log.info({ exitCode: result.exitCode }, `${result.text}${spent}`);
  await tellParent<WorkerChildMessage>({ kind: 'workerResult', result });
  const exitCode = drainedCode(result.exitCode, drain.interrupted());
  if (flags.json) printJson({ ...result, exitCode });
  return exitCode;
}

const devFile = (flags: Flags, run: RunFile | undefined): string | undefined =>
  flags.dev === undefined ? run?.data.dev : resolve(flags.dev);

/** Refuses a trainer whose run config is another one. */
function checkConfig(own: RunConfig | undefined, theirs: RunConfig, file: string): void {
  if (!own) return;
  const differences = runConfigDifferences(comparable(own, theirs), theirs);
  if (differences.length > 0)
    throw new OperatingError(
      EXIT.refused,
      `the run config of ${file} (here) is not the trainer's (there):\n  ${differences.join('\n  ')}`,
    );
}

function logReport(log: Log, report: WorkerReport): void {
  switch (report.kind) {
    case 'ready':
      log.info(
        report,
        `model loaded, ${report.compute.adapterElements} adapter elements; provider: ${report.compute.provider}; kernels: ${report.compute.kernels}`,
      );
      return;
    case 'joined': {
      const { rows, truncated, merged, budget } = report.data;
      log.info(
        report,
        `joined as worker ${report.worker} at round ${report.round}: ${rows} rows, ${truncated} truncated, ${merged} merged with their prompt`,
      );
      if (budget) log.info(beginText(budget));
      return;
    }
    case 'snapshot':
      log.info(report, `caught up to round ${report.round} by a snapshot of ${report.bytes} bytes`);
      return;
    case 'round':
      log.debug(report, `round ${report.round}`);
      return;
    case 'late':
      log.debug(report, report.text);
      return;
    case 'spent':
      log.warn(report, spentText(report));
      return;
    case 'retrying':
      log.warn(report, `${report.reason}; trying again in ${report.waitMs} ms`);
      return;
  }
}
