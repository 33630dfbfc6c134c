/** `onebyte bench …`: measurements, each loaded when it is asked for. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { AgreementOptions } from '../bench/agreement.ts';
import type { BandwidthBenchOptions } from '../bench/bandwidth.ts';
import type { ForwardBenchOptions } from '../bench/forward.ts';
import type { HostileBenchOptions } from '../bench/hostile.ts';
import type { LeakageOptions } from '../bench/leakage.ts';
import type { LearningBenchOptions } from '../bench/learning.ts';
import { TABLES } from '../bench/learning-tables.ts';
import type { LiarsBenchOptions } from '../bench/liars.ts';
import type { PrivacyBenchOptions } from '../bench/privacy.ts';
import type { ProtocolBenchOptions } from '../bench/protocol.ts';
import type { FinishedRun } from '../bench/quality.ts';
import type { StepsBenchOptions } from '../bench/steps.ts';
import { usableCores } from '../platform/cores.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import type { Learning } from '../proto/run-config.ts';
import { readRunFile } from '../settings/run-file.ts';
import { PRECISIONS, PROVIDERS } from '../settings/worker-settings.ts';
import { notNegative, positiveNumber, printJson, runCommand, toStderr, wholeNumber } from './command.ts';
import { findModel } from './find-model.ts';
import { threadCount } from './thread-count.ts';

/** Prints a benchmark's result: as JSON for `bench report`, or its rows as a table. */
function show(benchmark: string, result: { readonly rows: readonly object[] }, json: boolean | undefined): ExitCode {
  // Where somebody's Python lies is nothing that others could type.
  const command = `onebyte ${process.argv.slice(2).join(' ')}`.replace(/(?<= --python[ =])\S+/, 'PYTHON');
  const date = new Date().toISOString().slice(0, 10);
  const { rows, ...rest } = result;
  if (json) printJson({ benchmark, command, date, ...rest, rows });
  else {
    console.table(rows);
    process.stdout.write(`${JSON.stringify(rest, undefined, 2)}\n`);
  }
  return EXIT.done;
}

/** A row as soon as it is measured, without its curve, on stderr. */
function onRow(row: object): void {
  const { curve: _, ...rest } = row as { readonly curve?: unknown };
  toStderr(JSON.stringify(rest));
}

/**
 * A benchmark's command; its own options are added by the caller.
 * @param example how it is called @param measure gets the options as commander gives them, and the arguments
 */
function benchmark<Flags extends object>(
  name: string,
  description: string,
  example: string,
  measure: (flags: Flags, given: readonly string[]) => Promise<{ readonly rows: readonly object[] }>,
): Command {
  const command = new Command(name)
    .description(description)
    .addHelpText('after', `\nExample:\n  onebyte bench ${name} ${example}\n`)
    .action(() =>
      runCommand(async () => {
        const { json, ...flags } = command.opts();
        const { example, only } = flags;
        if (example !== undefined && !existsSync(join(example, 'model')))
          throw usageError(`--example ${example}: expected a directory with model/, as README says of each example`);
        const result = await measure(flags as Flags, command.args);
        if (result.rows.length === 0) throw usageError(`--only ${only}: expected a part of a name of what is measured`);
        return show(name, result, json);
      }),
    );
  return command.option('--json', 'end with one line of JSON on stdout');
}

const positiveNumbers = (value: string, before: number[] = []): number[] => [...before, positiveNumber(value)];

const notNegatives = (value: string, before: number[] = []): number[] => [...before, notNegative(value)];

/** Directory of the rows and the model. */
const example = (files: string, name = 'tiny-reviews'): Option =>
  new Option('--example <dir>', `directory with model/ and ${files}`).default(`examples/${name}`);

const kernels = benchmark(
  'kernels',
  'directions, perturbed adapters and updates on every backend, beside the reference',
  '--only simd',
  async (flags: { readonly only?: string }) => (await import('../bench/kernels.ts')).benchKernels(flags),
).option('--only <part>', 'backends whose name contains this');

const forward = benchmark(
  'forward',
  'the forward pass with perturbed adapters, beside the same graph without any; directions per second by estimator',
  '--model ./SmolLM2-135M-Instruct --adapters 16',
  async ({ model, ...flags }: ForwardBenchOptions) => {
    const { benchForward } = await import('../bench/forward.ts');
    return benchForward({ model: await findModel(model, toStderr), ...flags });
  },
)
  .requiredOption('--model <dir>', 'model directory or org/name')
  .option('--adapters <n>', 'adapters in one forward pass, even (32)', positiveNumber)
  .option('--rows <n>', 'rows of a minibatch (4); given again, estimators are measured with each', positiveNumbers)
  .option('--directions <K>', 'directions of one contribution (16)', positiveNumber)
  .option('--runs <n>', 'runs of each side (5)', positiveNumber)
  .option('--threads <n>', 'threads', threadCount)
  .option('--quantize <how>', 'none or int8')
  .addOption(new Option('--provider <name>', 'what runs the pass (cpu)').choices(PROVIDERS))
  .addOption(new Option('--precision <name>', 'what linear layers multiply in (by provider)').choices(PRECISIONS))
  .option('--no-profile', 'do not ask where the nodes of a pass run');

const steps = benchmark(
  'steps',
  'whole training steps: rows times directions a second, beside PyTorch in turns',
  '--example examples/smollm2-sentiment',
  async (flags: StepsBenchOptions) => (await import('../bench/steps.ts')).benchSteps(flags),
)
  .addOption(example('train.jsonl', 'smollm2-sentiment'))
  .option('--python <file>', 'interpreter with torch, transformers and peft (bench/peers/install.sh)')
  .option('--directions <K>', 'directions of a contribution (16)', positiveNumber)
  .option('--rows <n>', 'rows of a minibatch (4)', positiveNumber);

const agreement = benchmark(
  'agreement',
  'projected gradients of int8 weights, of finite differences, of int8 tangents and of half precision against exact ones',
  '--json',
  async (flags: AgreementOptions) => (await import('../bench/agreement.ts')).benchAgreement(flags),
)
  .addOption(example('train.jsonl', 'smollm2-sentiment'))
  .option('--directions <n>', 'directions in all (200)', positiveNumber);

const protocol = benchmark(
  'protocol',
  'rounds of a trainer with many workers: real streams, durable records, workers that only decode',
  '--json',
  async (flags: ProtocolBenchOptions) => (await import('../bench/protocol.ts')).benchProtocol(flags),
)
  .option('--workers <n...>', 'workers, one line for each number (1000)', positiveNumbers)
  .option('--rounds <n>', 'rounds that count (100)', positiveNumber)
  .option('--directions <K>', 'gradient bytes of a worker and round (8)', positiveNumber)
  .option('--processes <n>', 'processes that hold the workers (2)', positiveNumber);

const liars = benchmark(
  'liars',
  'workers that flip signs, guess or saturate: what they do to a run, with and without winsorising',
  '--json',
  async (flags: LiarsBenchOptions) => (await import('../bench/liars.ts')).benchLiars({ ...flags, onRow }),
)
  .addOption(example('train and dev.jsonl'))
  .option('--rounds <n>', 'rounds of ten workers with eight directions each (50)', positiveNumber)
  .option('--seed <n>', 'run seed (1)', wholeNumber);

const hostile = benchmark(
  'hostile',
  'eight honest workers beside four hostile members, real processes: rounds a second in turns, accuracy',
  '--json',
  async (flags: HostileBenchOptions) => (await import('../bench/hostile.ts')).benchHostile({ ...flags, onRow }),
)
  .addOption(example('train, dev and test.jsonl'))
  .option('--rounds <n>', 'rounds of the run that learns (200)', positiveNumber)
  .option('--turns <n>', 'turns with hostile members, and as many without (4)', positiveNumber)
  .option('--seconds <n>', 'length of a turn (10)', positiveNumber);

const leakage = benchmark(
  'leakage',
  'attacks on the rows of a worker by who sees its bytes, and by who sees its whole gradient',
  '--only which',
  async (flags: LeakageOptions) => (await import('../bench/leakage.ts')).benchLeakage({ ...flags, onRow }),
)
  .addOption(example('train and dev.jsonl'))
  .addOption(new Option('--only <attack>', 'this attack alone').choices(['which', 'member', 'text', 'canary']))
  .option('--trials <n>', 'repetitions of each attack (3)', positiveNumber)
  .option('--epsilon <number...>', 'of member and canary: these budgets alone, 0: none', notNegatives);

const privacy = benchmark(
  'privacy',
  'what a privacy budget of every worker costs in accuracy',
  '--epsilon 0 4',
  async ({ capExponent, ...flags }: Omit<PrivacyBenchOptions, 'capExponent'> & { readonly capExponent?: string }) => {
    const { benchPrivacy } = await import('../bench/privacy.ts');
    const cap = capExponent && { capExponent: Number(capExponent) as Learning['capExponent'] };
    return benchPrivacy({ ...flags, ...cap, onRow });
  },
)
  .addOption(example('train and dev.jsonl'))
  .option('--epsilon <number...>', 'budgets of each run, 0: none (0 8 4 2 1)', notNegatives)
  .option('--directions <n>', 'K (256)', positiveNumber)
  .option('--workers <n>', 'workers, each with its part of the rows (4)', positiveNumber)
  .option('--shard <n>', 'rows of each worker, the others are left out (all)', positiveNumber)
  .option('--rows <n>', 'expected rows of a minibatch (25)', positiveNumber)
  .option('--rounds <n>', 'rounds (40)', positiveNumber)
  .addOption(new Option('--cap-exponent <c>', 'learning.capExponent (0.5)').choices(['0', '0.25', '0.5', '0.75', '1']))
  .option('--clip <nats>', 'largest root mean square of the slopes of one row (2)', notNegative)
  .option('--seeds <n>', 'run seeds 1, 2, … (3)', positiveNumber);

const bandwidth = benchmark(
  'bandwidth',
  'a real trainer and workers over slow links: bytes per gradient, round times; beside it float32 averaging',
  '--json',
  async (flags: BandwidthBenchOptions) => (await import('../bench/bandwidth.ts')).benchBandwidth({ ...flags, onRow }),
)
  .addOption(example('train.jsonl'))
  .option('--only <part>', 'cells whose name contains this')
  .option('--python <file>', 'Python that has torch, for all-reduce with gloo (default: left out)')
  .option('--loopback', 'no network namespaces, also where they can be had');

const learning = benchmark(
  'learning',
  `accuracy and loss of every choice over seeds: ${TABLES.join(', ')}`,
  '--table codecs',
  async (flags: LearningBenchOptions) => (await import('../bench/learning.ts')).benchLearning({ ...flags, onRow }),
)
  .addOption(example('train and dev.jsonl'))
  .addOption(new Option('--table <names...>', 'tables to measure (all)').choices(TABLES))
  .option('--seeds <n>', 'runs of each choice (3)', positiveNumber)
  .option('--first-seed <n>', 'the first of them (1)', wholeNumber)
  .option('--budget <n>', 'directions of a run (5120)', positiveNumber);

const quality = benchmark(
  'quality',
  'finished runs on the test split: before, and the checkpoint that was best on the dev split',
  'runs/first runs/second',
  async ({ threads = usableCores() }: { readonly threads?: number }, directories) => {
    const { benchQuality } = await import('../bench/quality.ts');
    return benchQuality(
      directories.map((directory) => finishedRun(directory, threads)),
      onRow,
    );
  },
)
  .argument('<rundir...>', 'run directories of onebyte simulate')
  .option('--threads <n>', 'threads', threadCount);

function finishedRun(directory: string, threads: number): FinishedRun {
  const file = join(directory, 'run.yaml');
  const { model, data, seed, learning } = readRunFile(file);
  if (data.test === undefined) throw usageError(`${file}: data.test is missing; quality is measured on it`);
  return { directory, model, test: data.test, data, learning, seed, threads };
}

interface ReportFlags {
  readonly results: string;
  readonly page: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

const report = new Command('report')
  .description(
    'write the tables of README.md and of docs/benchmarks.md, scale.md and privacy.md and the plots in docs/plots anew from result files, and one HTML page of all',
  )
  .option('--results <dir>', 'result files: last lines of onebyte bench … --json', 'bench/results')
  .option('--page <file>', 'HTML page to write', 'bench/results/report.html')
  .option('--json', 'end with one line of JSON on stdout')
  .option('--check', 'write nothing; fail where a table or plot is not what the results give')
  .addHelpText('after', '\nExample:\n  onebyte bench report --check\n')
  .action((flags: ReportFlags) =>
    runCommand(async () => {
      const { benchReport } = await import('../bench/report.ts');
      const written = benchReport({
        ...flags,
        documents: ['README.md', 'docs/benchmarks.md', 'docs/scale.md', 'docs/privacy.md'],
        plots: 'docs/plots',
      });
      if (flags.json) printJson({ written });
      else if (!flags.check) process.stdout.write(`${written.join('\n')}\n`);
      return EXIT.done;
    }),
  );

const MEASUREMENTS = [
  ...[kernels, forward, steps, agreement, protocol, bandwidth, learning, quality],
  ...[liars, hostile, leakage, privacy],
];
export const benchCommand = new Command('bench')
  .description(`measure this machine: ${MEASUREMENTS.map((each) => each.name()).join(', ')}; report`)
  .addHelpText('after', '\nExample:\n  onebyte bench kernels --only simd --json\n');
for (const command of [...MEASUREMENTS, report]) benchCommand.addCommand(command);
