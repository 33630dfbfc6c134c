/** `onebyte sweep`: a few learning rates on a short budget of the user's own data, one table, one advice. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { makeDirectories } from '../platform/make-directories.ts';
import { childFailure, startChild } from '../processes/child-process.ts';
import { figuresOf, lossText, percent } from '../proto/evaluation.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { readRunFile, trainFiles } from '../settings/run-file.ts';
import { EARLY_ENDS } from '../settings/trainer-settings.ts';
import { roundLogFile } from '../trainer/store/open-run.ts';
import { readRoundLog } from '../trainer/store/round-log.ts';
import { drainOnSignal, printJson, runCommand, settingFlags, toStderr, wholeNumber, withSettings } from './command.ts';
import { columns, plural, ROW_LOSS } from './format.ts';
import { runDirectory } from './run-directory.ts';
import { advice, type Trial } from './sweep-advice.ts';

interface Flags {
  readonly set: string[];
  readonly rates: readonly number[];
  readonly rounds: number;
  readonly workers?: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** Evaluations of a trial beside the one before its first round. */
const EVALUATIONS = 4;

export const sweepCommand = withSettings(
  new Command('sweep')
    .description('try learning rates on a short budget, each as a run of onebyte simulate, and advise one')
    .argument('<run.yaml>', 'run file; it needs data.dev')
    .option('--rates <list>', 'learning rates, with commas between them', parseRates, [5e-4, 1e-3, 2e-3, 4e-3])
    .option('--rounds <n>', 'rounds of each', wholeNumber, 40)
    .option('--workers <n>', 'worker processes (workers)', wholeNumber)
    .option('--out <dir>', 'directory of the trials (out, with -sweep behind it)')
    .option('--json', 'end with one line of JSON on stdout'),
)
  .addHelpText('after', `\n${ROW_LOSS}\n\nExample:\n  onebyte sweep run.yaml --rates 1e-3,2e-3,4e-3 --rounds 40\n`)
  .action((file: string, flags: Flags) => runCommand(() => sweep(file, flags)));

function parseRates(text: string): number[] {
  const rates = text.split(',').map(Number);
  if (rates.some((rate) => !(rate > 0 && Number.isFinite(rate))))
    throw new InvalidArgumentError('Expected positive numbers with commas between them, as 1e-3,2e-3.');
  return rates;
}

async function sweep(file: string, flags: Flags): Promise<ExitCode> {
  const { rounds } = flags;
  if (rounds < 1) throw usageError(`--rounds ${rounds}: expected at least 1`);
  const run = readRunFile(file, flags.set);
  trainFiles(run, file);
  if (run.data.dev === undefined) throw usageError(`run file ${file}: data.dev is missing; rates are compared by it`);
  // The first trial would spend all that its rows may ever tell, and workers with a budget evaluate nothing.
  if (run.worker.privacy)
    throw usageError(
      'worker.privacy: trials would spend the budget, and workers that have one evaluate nothing that rates could be compared by; sweep public rows of the same kind with --set worker.privacy=',
    );
  const wanted = { flag: flags.out, ofFile: `${run.out}-sweep`, resume: false };
  const directory = runDirectory(wanted, toStderr);
  makeDirectories(join(directory, 'logs'));
  const drain = drainOnSignal();
  const trials: Trial[] = [];
  for (const rate of flags.rates) {
    toStderr(`learning rate ${rate}: ${plural(rounds, 'round')} …`);
    trials.push(await tryRate(resolve(file), rate, directory, flags, drain.signal));
  }
  const said = advice(trials);
  if (flags.json) printJson({ trials, advised: said.rate ?? null, text: said.text });
  else process.stdout.write(`${[...table(trials), '', said.text].join('\n')}\n`);
  return EXIT.done;
}

async function tryRate(
  file: string,
  rate: number,
  directory: string,
  { rounds, workers, set }: Flags,
  drain: AbortSignal,
): Promise<Trial> {
  drain.throwIfAborted();
  const out = join(directory, `rate-${rate}`);
  const evaluateEvery = Math.max(1, Math.floor(rounds / EVALUATIONS));
  // A trial that ended early would be compared after fewer rounds than the others.
  const whole = ['learning.decayRounds=', ...EARLY_ENDS.map((key) => `trainer.${key}=`)];
  const settings = [...set, `learning.learningRate=${rate}`, ...whole, 'data.test='];
  const args = [
    ...['simulate', file, '--out', out, '--rounds', String(rounds), '--no-dashboard', '--json'],
    ...(workers === undefined ? [] : ['--workers', String(workers)]),
    ...settingFlags([...settings, `trainer.evaluateEvery=${evaluateEvery}`]),
  ];
  const child = startChild(args, join(directory, 'logs', `rate-${rate}.log`), () => {});
  const stop = (): void => void child.process.kill('SIGTERM');
  drain.addEventListener('abort', stop);
  const { code } = await child.exit;
  drain.removeEventListener('abort', stop);
  drain.throwIfAborted();
  if (code !== EXIT.done && code !== EXIT.diverged) throw childFailure(`learning rate ${rate}`, child, code);
  const log = roundLogFile(out);
  const frames = existsSync(log) ? (await readRoundLog(log)).frames : [];
  const evaluations = frames.flatMap(({ frame }) => (frame?.$case === 'evaluation' ? [figuresOf(frame.value)] : []));
  return { rate, diverged: code === EXIT.diverged, evaluations };
}

function table(trials: readonly Trial[]): string[] {
  const show = (figures: Trial['evaluations'][number] | undefined): string => {
    if (figures === undefined) return '-';
    const loss = lossText(figures, 3);
    return figures.accuracy === undefined ? loss : `${loss}, ${percent(figures.accuracy)}`;
  };
  return columns([
    ['learning rate', 'dev loss before', 'half way', 'at the end'],
    ...trials.map(({ rate, diverged, evaluations }) => [
      String(rate),
      show(evaluations[0]),
      show(evaluations[evaluations.length >> 1]),
      `${show(evaluations.at(-1))}${diverged ? ' (diverged)' : ''}`,
    ]),
  ]);
}
