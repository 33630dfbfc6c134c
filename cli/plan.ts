/** `onebyte plan`: what a run will cost, from one step of each estimator measured on this machine. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { countRows } from '../data/dataset.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { usableCores } from '../platform/cores.ts';
import { firstMessage, forkModule } from '../platform/fork-module.ts';
import { prepareRun } from '../processes/prepare-run.ts';
import type { Probe, ProbeReply, ProbeRequest } from '../processes/step-probe.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { Learning, type RunConfig } from '../proto/run-config.ts';
import { checkBudget, readRunFile, type SettledRunFile, settled, trainFiles } from '../settings/run-file.ts';
import { ownLearning } from '../settings/worker-settings.ts';
import { mechanismFor } from '../worker/privacy/privacy-budget.ts';
import { printJson, runCommand, toStderr, wholeNumber, withSettings } from './command.ts';
import { findModel } from './find-model.ts';
import { bytes, columns, duration } from './format.ts';
import {
  averagingBytes,
  type Cost,
  costApart,
  costTogether,
  type Link,
  NO_LINK,
  type PlannedRun,
  parseLink,
  roundBytes,
  trainerBytes,
} from './plan-cost.ts';

interface Flags {
  readonly set: string[];
  readonly workers?: number;
  readonly rounds?: number;
  readonly link?: string;
  readonly json?: boolean;
}

type Estimator = Learning['estimator'];
const ESTIMATORS: readonly Estimator[] = Learning.shape.estimator.unwrap().options;

/** What was measured of one estimator and what follows, or why this machine cannot run it. */
type Line =
  | { readonly estimator: Estimator; readonly measured: Probe; readonly apart: Cost; readonly together: Cost }
  | { readonly estimator: Estimator; readonly problem: string };

export const planCommand = withSettings(
  new Command('plan')
    .description('what a run will cost: measures one step of each estimator here, and computes the rest')
    .argument('<run.yaml>', 'run file')
    .option('--workers <n>', 'workers, each on a machine like this one (workers)', wholeNumber)
    .option('--rounds <n>', 'records after which the run is done (rounds)', wholeNumber)
    .option('--link <rate,delay>', 'way between a worker and the trainer, as 1mbit,50ms (one way); default: none')
    .option('--json', 'end with one line of JSON on stdout'),
)
  .addHelpText('after', '\nExample:\n  onebyte plan run.yaml --workers 8 --link 1mbit,50ms\n')
  .action((file: string, flags: Flags) => runCommand(() => plan(file, flags)));

async function plan(file: string, flags: Flags): Promise<ExitCode> {
  const link = flags.link === undefined ? NO_LINK : parseLink(flags.link);
  const given = readRunFile(file, flags.set, { workers: flags.workers, rounds: flags.rounds });
  const rows = trainFiles(given, file);
  const run = settled({ ...given, model: await findModel(given.model, toStderr) }, undefined);
  checkBudget(run);
  const { config } = await prepareRun({ ...run, worker: withoutTangents(run.worker) });
  const budget = await privacyPlan(run, config, rows);
  const planned = await plannedRun(run, ownLearning(config.learning, run.worker), config);
  const lines: Line[] = [];
  for (const estimator of ESTIMATORS) {
    toStderr(`measuring a step of ${estimator} …`);
    const reply = await measure({ ...config, learning: { ...config.learning, estimator } }, run, rows, planned);
    if ('problem' in reply) lines.push({ estimator, problem: reply.problem });
    else
      lines.push({
        estimator,
        measured: reply,
        apart: costApart(planned, reply, link),
        together: costTogether(planned, reply),
      });
  }
  const key = run.worker.estimator === undefined ? 'learning.estimator' : 'worker.estimator';
  report(planned, lines, flags, link, key, budget);
  return EXIT.done;
}

/** Precisions of one estimator do not go with the others. */
const withoutTangents = ({ tangentPrecision: _, ...worker }: SettledRunFile['worker']): SettledRunFile['worker'] =>
  worker;

/** What a worker is told to measure with would take the place of what is tried. */
const withoutEstimator = ({ estimator: _, ...worker }: SettledRunFile['worker']): SettledRunFile['worker'] => worker;

/** What a privacy budget means for this run, in words; undefined without one. The ledger is the workers': what it holds is not asked. */
async function privacyPlan(
  { worker, data, model, rounds }: SettledRunFile,
  { learning }: RunConfig,
  rows: readonly string[],
): Promise<string | undefined> {
  const { privacy } = worker;
  if (!privacy) return undefined;
  const own = ownLearning(learning, worker);
  const size = Math.floor((await countRows(rows, model, data)) / data.shards);
  const drawn = Math.min(own.rows, size);
  const mechanism = mechanismFor(privacy, { size, rows: drawn }, rounds);
  const { epsilon, delta, clip, answerMs } = privacy;
  const budget = `ε ${epsilon}, δ ${delta} for ${rounds} contributions, if nothing of it is spent yet, each row drawn with probability ${drawn} / ${size}`;
  if (!mechanism) return `${budget}: no noise is enough`;
  const byte = (mechanism.noise * clip * Math.sqrt(own.directions / own.directionStripes)) / mechanism.expectedRows;
  const slots = answerMs === 0 ? '' : `; an answer leaves after ${duration(answerMs / 1000)}, or twice that, …`;
  return `${budget}: noise ${mechanism.noise.toFixed(2)} clips on the sum, ${byte.toPrecision(3)} nats on each projected gradient${slots}`;
}

async function plannedRun(
  run: SettledRunFile,
  { directions, maxStaleness }: Learning,
  { adapter }: RunConfig,
): Promise<PlannedRun> {
  const { privacy } = run.worker;
  // A worker with a budget evaluates nothing, and contributes once a round.
  const evaluates = run.data.dev !== undefined && !privacy;
  const devRows = evaluates ? await countRows(run.data.dev!, run.model, run.data) : 0;
  return {
    workers: run.workers,
    rounds: run.rounds,
    directions,
    elements: adapterLayout(adapter.modules, adapter.train).elements,
    devRows,
    evaluateEvery: run.trainer.evaluateEvery,
    overlaps: maxStaleness > 0 && !privacy,
    answerMs: privacy?.answerMs ?? 0,
  };
}

/** In a process of its own, whose memory is a worker's. */
async function measure(
  config: RunConfig,
  { model, data, worker }: SettledRunFile,
  rows: readonly string[],
  { workers, devRows, rounds }: PlannedRun,
): Promise<ProbeReply> {
  // What is measured here is sent to nobody: it spends nothing of a budget.
  const ledger = mkdtempSync(join(tmpdir(), 'onebyte-plan-'));
  const child = forkModule(new URL('../processes/step-probe', import.meta.url));
  try {
    const tried = withoutEstimator(config.learning.estimator === 'forward' ? worker : withoutTangents(worker));
    const settings = tried.privacy ? { ...tried, privacy: { ...tried.privacy, ledger } } : tried;
    const threads = worker.threads ?? usableCores();
    const files = { modelDirectory: model, trainFiles: rows, devFile: data.dev, ownData: false };
    const compute = { config, ...files, settings, threads };
    const exponent = config.learning.initialExponent;
    child.send({ compute, workers, devRows, rounds, exponent } satisfies ProbeRequest);
    return await firstMessage<ProbeReply>(child);
  } catch (error) {
    // Killed, most likely for want of memory.
    return { problem: (error as Error).message };
  } finally {
    child.kill('SIGKILL');
    rmSync(ledger, { recursive: true, force: true });
  }
}

function report(
  run: PlannedRun,
  lines: readonly Line[],
  flags: Flags,
  link: Link,
  key: 'learning.estimator' | 'worker.estimator',
  privacy: string | undefined,
): void {
  const measured = lines.flatMap((line) => ('measured' in line ? [line] : []));
  const [advised] = [...measured].sort((a, b) => a.apart.runSeconds - b.apart.runSeconds);
  if (!advised) throw usageError([...new Set(lines.map((line) => ('problem' in line ? line.problem : '')))].join('\n'));
  const { up, down } = roundBytes(run);
  const trainerMemory = trainerBytes(run, process.memoryUsage().rss);
  const sent = { up: up * run.rounds, down: down * run.rounds, averaging: averagingBytes(run) };
  const snapshot = 4 * run.elements;
  if (flags.json) {
    printJson({
      ...run,
      link: flags.link,
      estimators: lines,
      trainerMemory,
      sent,
      snapshot,
      privacy,
      advised: advised.estimator,
    });
    return;
  }
  const head = ['estimator', 'contribution', 'round', 'run', 'on one machine', 'memory of a worker'];
  const cells = measured.map(({ estimator, measured: m, apart, together }) => [
    estimator,
    duration(m.contributionSeconds),
    duration(apart.roundSeconds),
    duration(apart.runSeconds),
    duration(together.runSeconds),
    bytes(m.peakBytes),
  ]);
  const way = link === NO_LINK ? 'no link stated' : `link ${flags.link}`;
  const text = [
    `${run.workers} workers, ${run.rounds} rounds, ${run.directions} directions a contribution, ${run.elements} adapter elements, ${way}`,
    '',
    ...columns([head, ...cells]),
    ...lines.flatMap((line) => ('problem' in line ? [`${line.estimator}: not here (${line.problem})`] : [])),
    '',
    `advice         ${key}: ${advised.estimator} (set it with --set ${key}=${advised.estimator})`,
    `trainer        about ${bytes(trainerMemory)} of memory`,
    `a worker       sends ${bytes(sent.up)} and gets ${bytes(sent.down)} in the run; averaging float32 gradients: ${bytes(sent.averaging)} each way`,
    `a late joiner  fetches ${bytes(snapshot)} more`,
    ...(privacy === undefined ? [] : [`privacy        ${privacy}`]),
    '',
    'round, run: every worker on a machine like this one, evaluations on the dev split included in the run. on one machine: onebyte simulate here.',
    'Whether the run learns is another question: onebyte sweep tries learning rates, docs/choosing.md says what to expect.',
  ];
  process.stdout.write(`${text.join('\n')}\n`);
}
