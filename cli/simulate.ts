/** `onebyte simulate`: a whole run on this machine, as real processes, with the test split evaluated before and after. */
import { existsSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { checkRows } from '../data/dataset.ts';
import { usableCores } from '../platform/cores.ts';
import { makeDirectories } from '../platform/make-directories.ts';
import { runSimulation } from '../processes/simulation.ts';
import type { Figures } from '../proto/evaluation.ts';
import { EXIT, type ExitCode, OperatingError } from '../proto/operating-error.ts';
import { checkBudget, type RunFile, readRunFile, trainFiles } from '../settings/run-file.ts';
import type { TrainerResult } from '../trainer/run-trainer.ts';
import { bestOf } from '../trainer/store/checkpoint.ts';
import { checkpointsOf } from '../trainer/store/open-run.ts';
import { drainedCode, drainOnSignal, printJson, runCommand, toStderr, wholeNumber, withSettings } from './command.ts';
import { findModel } from './find-model.ts';
import { plural, ROW_LOSS } from './format.ts';
import { LiveView } from './live-view.ts';
import { runDirectory, settle } from './run-directory.ts';
import { summarise, summaryTable, type Tested } from './simulation-summary.ts';
import { TestEvaluator } from './test-evaluator.ts';

interface Flags {
  readonly set: string[];
  readonly workers?: number;
  readonly rounds?: number;
  readonly decayRounds?: number;
  readonly seed?: number;
  readonly out?: string;
  readonly resume?: boolean;
  readonly json?: boolean;
  readonly dashboard: string | false;
}

export const simulateCommand = withSettings(
  new Command('simulate')
    .description('run a trainer and its workers on this machine, as real processes over real gRPC')
    .argument('<run.yaml>', 'run file')
    .option('--workers <n>', 'worker processes (workers)', wholeNumber)
    .option('--rounds <n>', 'records after which the run is done (rounds)', wholeNumber)
    .option(
      '--decay-rounds <n>',
      'from the next record on the learning rate is that of a run that falls over n rounds, counted from its first; 0: constant (learning.decayRounds)',
      wholeNumber,
    )
    .option('--seed <n>', 'run seed (seed)', wholeNumber)
    .option('--out <dir>', 'run directory (out)')
    .option('--resume', 'go on with the run in the run directory')
    .option('--dashboard <host:port>', 'page of the run, while it runs; port 0: chosen by the system', '127.0.0.1:0')
    .option('--no-dashboard', 'no page')
    .option('--json', 'end with one line of JSON on stdout'),
)
  .addHelpText(
    'after',
    `\n${ROW_LOSS}\nThe training loss is what the workers measured on their minibatches; the dev and the test loss are of other rows.\n\nExample:\n  onebyte simulate examples/tiny-reviews/run.yaml --workers 4 --out runs/first\n`,
  )
  .action((file: string, flags: Flags) => runCommand(() => simulate(file, flags)));

/** Undefined where it is `last`, or where nothing was evaluated. */
function bestCheckpoint(directory: string, last: string): string | undefined {
  const link = bestOf(checkpointsOf(directory));
  if (!existsSync(link)) return undefined;
  const best = realpathSync(link);
  return best === realpathSync(last) ? undefined : best;
}

async function simulate(file: string, flags: Flags): Promise<ExitCode> {
  const started = performance.now();
  const drain = drainOnSignal();
  const prepared = await prepare(file, flags, drain.signal);
  const { run, directory, runFile } = prepared;
  const view = new LiveView(run.rounds, process.stderr, () => performance.now());
  view.say(`${plural(run.workers, 'worker')}, ${plural(run.rounds, 'round')}, run directory ${directory}`);
  const evaluator =
    run.data.test === undefined
      ? undefined
      : new TestEvaluator(runFile, join(directory, 'logs', 'eval.log'), (text) => view.say(text));
  try {
    return await trainAndTest(prepared, flags, { drain, view, evaluator, started });
  } finally {
    evaluator?.stop();
  }
}

/** What a simulation has at hand. */
interface Simulating {
  readonly drain: ReturnType<typeof drainOnSignal>;
  readonly view: LiveView;
  /** Undefined without a test split. */
  readonly evaluator: TestEvaluator | undefined;
  /** On the clock of performance.now(). */
  readonly started: number;
}

async function trainAndTest(
  { run, directory, runFile }: Awaited<ReturnType<typeof prepare>>,
  flags: Flags,
  { drain, view, evaluator, started }: Simulating,
): Promise<ExitCode> {
  const ticker = setInterval(() => view.tick(), 1000).unref();
  const cores = usableCores();
  // What fails first ends all the others.
  const failed = new AbortController();
  const signal = AbortSignal.any([drain.signal, failed.signal]);
  signal.addEventListener('abort', () => evaluator?.stop());
  const test = async (adapter?: string): Promise<Figures | undefined> => {
    signal.throwIfAborted();
    return await evaluator?.evaluate(adapter).catch((error) => {
      signal.throwIfAborted();
      throw error;
    });
  };
  const unlessStopped = (error: unknown): undefined => {
    if (!drain.signal.aborted) throw error;
  };
  const before = test(run.adapter.from);
  /** The test split before and after a run that is done, and under its best checkpoint. */
  const testEnd = async ({ checkpointDir }: TrainerResult): Promise<Tested> => {
    if (checkpointDir === undefined)
      throw new OperatingError(EXIT.internal, 'the run is done, and the trainer names no checkpoint of it');
    const best = bestCheckpoint(directory, checkpointDir);
    return {
      best,
      figures: await Promise.all([before, test(checkpointDir), best === undefined ? undefined : test(best)]),
    };
  };
  let tested: ReturnType<typeof testEnd> | undefined;
  const training = runSimulation({
    runFile,
    directory,
    rounds: run.rounds,
    decayRounds: flags.decayRounds,
    workers: run.workers,
    worker: run.worker,
    threads: run.worker.threads ?? Math.max(1, Math.floor(cores / run.workers)),
    dashboard: flags.dashboard === false ? undefined : flags.dashboard,
    view,
    // While the processes end.
    onResult: (trainer) => {
      // One that was stopped may be started again.
      if (trainer.exitCode === EXIT.done) tested ??= testEnd(trainer);
      tested?.catch(() => {});
    },
    drain: signal,
  });
  for (const part of [before, training]) part.catch((error) => failed.abort(error));
  await Promise.allSettled([training, before]);
  clearInterval(ticker);
  view.end();
  if (!drain.signal.aborted) failed.signal.throwIfAborted();
  const result = await training;
  const { trainer } = result;
  const isDone = trainer.exitCode === EXIT.done;
  // A run may be done when its evaluation is stopped.
  const tests = await tested?.catch(unlessStopped);
  if (!tests) {
    view.say(isDone ? `${trainer.text}; stopped before the test split was evaluated` : trainer.text);
    const exitCode = drainedCode(isDone ? EXIT.drained : trainer.exitCode, drain.interrupted());
    if (flags.json) printJson({ ...trainer, exitCode });
    return exitCode;
  }
  const summary = summarise(result, tests, (performance.now() - started) / 1000);
  if (flags.json) printJson(summary);
  else process.stdout.write(summaryTable(summary, evaluator !== undefined, flags.resume ? ' since this start' : ''));
  if (new Set(summary.replicaDigests).size > 1)
    throw new OperatingError(EXIT.internal, `the replicas differ: ${summary.replicaDigests.join(', ')}`);
  return EXIT.done;
}

/** Settles the run file and writes it for all processes; the trainer makes it the run directory's own. */
async function prepare(
  file: string,
  flags: Flags,
  drain: AbortSignal,
): Promise<{ run: RunFile; directory: string; runFile: string }> {
  const { workers, rounds, seed } = flags;
  const given = readRunFile(file, flags.set, { workers, rounds, seed });
  for (const rows of [...trainFiles(given, file), given.data.dev, given.data.test])
    if (rows !== undefined) checkRows(rows, given.data);
  const directory = runDirectory({ flag: flags.out, ofFile: given.out, resume: flags.resume ?? false }, toStderr);
  const model = await findModel(given.model, toStderr, drain);
  const { run: settled } = await settle({ ...given, model }, directory, flags.decayRounds);
  checkBudget(settled);
  const run = { ...settled, trainer: { ...settled.trainer, startWorkers: settled.workers } };
  const runFile = join(directory, 'logs', 'run.yaml');
  makeDirectories(join(directory, 'logs'));
  writeFileSync(runFile, stringify(run));
  return { run, directory, runFile };
}
