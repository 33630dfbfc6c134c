/** `onebyte bench …`: measurements, each loaded when it is asked for. */
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { LearningRow } from '../bench/learning.ts';
import { TABLES, type TableName } from '../bench/learning-tables.ts';
import type { QualityRow } from '../bench/quality.ts';
import { usableCores } from '../platform/cores.ts';
import { EXIT, type ExitCode, usageError } from '../proto/operating-error.ts';
import { readRunFile } from '../settings/run-file.ts';
import { PRECISIONS, PROVIDERS, type WorkerSettings } from '../settings/worker-settings.ts';
import { printJson, runCommand, wholeNumber } from './command.ts';
import { findModel, toStderr } from './find-model.ts';

/** Prints a benchmark's result: as JSON for `bench report`, or its rows as a table. */
function show(benchmark: string, result: { readonly rows: readonly object[] }, json: boolean | undefined): ExitCode {
  const command = `onebyte ${process.argv.slice(2).join(' ')}`;
  const date = new Date().toISOString().slice(0, 10);
  const { rows, ...rest } = result;
  if (json) printJson({ benchmark, command, date, ...rest, rows });
  else {
    console.table(rows);
    process.stdout.write(`${JSON.stringify(rest, undefined, 2)}\n`);
  }
  return EXIT.done;
}

interface KernelFlags {
  readonly only?: string;
  readonly json?: boolean;
}

const kernels = new Command('kernels')
  .description('directions, perturbed adapters and updates on every backend, beside the reference')
  .option('--only <part>', 'backends whose name contains this')
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ only, json }: KernelFlags) =>
    runCommand(async () => {
      const { benchKernels } = await import('../bench/kernels.ts');
      return show('kernels', await benchKernels(only === undefined ? {} : { only }), json);
    }),
  );

interface ForwardFlags {
  readonly model: string;
  readonly adapters?: number;
  readonly directions?: number;
  readonly runs?: number;
  readonly threads?: number;
  readonly quantize?: 'none' | 'int8';
  readonly provider?: WorkerSettings['provider'];
  readonly precision?: WorkerSettings['precision'];
  readonly profile: boolean;
  readonly json?: boolean;
}

const forward = new Command('forward')
  .description(
    'the forward pass with perturbed adapters, beside the same graph without any; directions per second by estimator',
  )
  .requiredOption('--model <dir>', 'model directory or org/name')
  .option('--adapters <n>', 'adapters in one forward pass, even (32)', wholeNumber)
  .option('--directions <K>', 'directions of one contribution (16)', wholeNumber)
  .option('--runs <n>', 'runs of each side (5)', wholeNumber)
  .option('--threads <n>', 'threads', wholeNumber)
  .option('--quantize <how>', 'none or int8')
  .addOption(new Option('--provider <name>', 'what runs the pass (cpu)').choices(PROVIDERS))
  .addOption(new Option('--precision <name>', 'of products with base weights (float32)').choices(PRECISIONS))
  .option('--no-profile', 'do not ask where the nodes of a pass run')
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ model, json, ...options }: ForwardFlags) =>
    runCommand(async () => {
      const { benchForward } = await import('../bench/forward.ts');
      return show('forward', await benchForward({ model: await findModel(model, toStderr), ...options }), json);
    }),
  );

interface StepsFlags {
  readonly example: string;
  readonly python?: string;
  readonly directions?: number;
  readonly rows?: number;
  readonly json?: boolean;
}

const steps = new Command('steps')
  .description('whole training steps: rows times directions a second, beside PyTorch in turns')
  .option('--example <dir>', 'directory with model/ and train.jsonl', 'examples/smollm2-sentiment')
  .option('--python <file>', 'interpreter with torch, transformers and peft (bench/peers/install.sh)')
  .option('--directions <K>', 'directions of a contribution (16)', wholeNumber)
  .option('--rows <n>', 'rows of a minibatch (4)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: StepsFlags) =>
    runCommand(async () => {
      const { benchSteps } = await import('../bench/steps.ts');
      return show('steps', await benchSteps(options), json);
    }),
  );

interface AgreementFlags {
  readonly example: string;
  readonly directions?: number;
  readonly json?: boolean;
}

const agreement = new Command('agreement')
  .description(
    'projected gradients of int8 weights, of finite differences, of int8 tangents and of half precision against exact ones',
  )
  .option('--example <dir>', 'directory with model/ and train.jsonl', 'examples/smollm2-sentiment')
  .option('--directions <n>', 'directions in all (200)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: AgreementFlags) =>
    runCommand(async () => {
      const { benchAgreement } = await import('../bench/agreement.ts');
      return show('agreement', await benchAgreement(options), json);
    }),
  );

const wholeNumbers = (value: string, before: number[] = []): number[] => [...before, wholeNumber(value)];

interface ProtocolFlags {
  readonly workers?: number[];
  readonly rounds?: number;
  readonly directions?: number;
  readonly processes?: number;
  readonly json?: boolean;
}

const protocol = new Command('protocol')
  .description('rounds of a trainer with many workers: real streams, durable records, workers that only decode')
  .option('--workers <n...>', 'workers, one line for each number (1000)', wholeNumbers)
  .option('--rounds <n>', 'rounds that count (100)', wholeNumber)
  .option('--directions <K>', 'gradient bytes of a worker and round (8)', wholeNumber)
  .option('--processes <n>', 'processes that hold the workers (2)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: ProtocolFlags) =>
    runCommand(async () => {
      const { benchProtocol } = await import('../bench/protocol.ts');
      return show('protocol', await benchProtocol(options), json);
    }),
  );

interface LiarsFlags {
  readonly example: string;
  readonly rounds?: number;
  readonly seed?: number;
  readonly json?: boolean;
}

const liars = new Command('liars')
  .description('workers that flip signs, guess or saturate: what they do to a run, with and without winsorising')
  .option('--example <dir>', 'directory with model/, train.jsonl and dev.jsonl', 'examples/tiny-reviews')
  .option('--rounds <n>', 'rounds of ten workers with eight directions each (50)', wholeNumber)
  .option('--seed <n>', 'run seed (1)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: LiarsFlags) =>
    runCommand(async () => {
      const { benchLiars } = await import('../bench/liars.ts');
      const onRow = (row: object): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      return show('liars', await benchLiars({ ...options, onRow }), json);
    }),
  );

interface HostileFlags {
  readonly example: string;
  readonly rounds?: number;
  readonly turns?: number;
  readonly seconds?: number;
  readonly json?: boolean;
}

const hostile = new Command('hostile')
  .description('eight honest workers beside four hostile members, real processes: rounds a second in turns, accuracy')
  .option('--example <dir>', 'directory with model/ and train, dev and test.jsonl', 'examples/tiny-reviews')
  .option('--rounds <n>', 'rounds of the run that learns (200)', wholeNumber)
  .option('--turns <n>', 'turns with hostile members, and as many without (4)', wholeNumber)
  .option('--seconds <n>', 'length of a turn (10)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: HostileFlags) =>
    runCommand(async () => {
      const { benchHostile } = await import('../bench/hostile.ts');
      const onRow = (row: object): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      return show('hostile', await benchHostile({ ...options, onRow }), json);
    }),
  );

interface LeakageFlags {
  readonly example: string;
  readonly only?: 'which' | 'member' | 'text';
  readonly trials?: number;
  readonly json?: boolean;
}

const leakage = new Command('leakage')
  .description('attacks on the rows of a worker by who sees its bytes, and by who sees its whole gradient')
  .option('--example <dir>', 'directory with model/, train.jsonl and dev.jsonl', 'examples/tiny-reviews')
  .addOption(new Option('--only <attack>', 'this attack alone').choices(['which', 'member', 'text']))
  .option('--trials <n>', 'repetitions of each attack on a minibatch (3)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ only, json, ...options }: LeakageFlags) =>
    runCommand(async () => {
      const { benchLeakage } = await import('../bench/leakage.ts');
      const onRow = (row: object): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      const attacks = only === undefined ? {} : { attacks: [only] };
      return show('leakage', await benchLeakage({ ...options, ...attacks, onRow }), json);
    }),
  );

interface PrivacyFlags {
  readonly example: string;
  readonly epsilon?: string[];
  readonly directions?: number;
  readonly workers?: number;
  readonly rows?: number;
  readonly rounds?: number;
  readonly clip?: string;
  readonly seeds?: number;
  readonly json?: boolean;
}

const privacy = new Command('privacy')
  .description('what a privacy budget of every worker costs in accuracy')
  .option('--example <dir>', 'directory with model/, train.jsonl and dev.jsonl', 'examples/tiny-reviews')
  .option('--epsilon <number...>', 'budgets of each run, 0: none (0 8 4 2 1)')
  .option('--directions <n>', 'K (256)', wholeNumber)
  .option('--workers <n>', 'workers, each with its part of the rows (4)', wholeNumber)
  .option('--rows <n>', 'expected rows of a minibatch (25)', wholeNumber)
  .option('--rounds <n>', 'rounds (40)', wholeNumber)
  .option('--clip <nats>', 'largest root mean square of the slopes of one row (2)')
  .option('--seeds <n>', 'run seeds 1, 2, … (3)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, epsilon, clip, ...options }: PrivacyFlags) =>
    runCommand(async () => {
      const { benchPrivacy } = await import('../bench/privacy.ts');
      const onRow = (row: object): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      const numbers = {
        ...(epsilon && { epsilons: epsilon.map(Number) }),
        ...(clip !== undefined && { clip: Number(clip) }),
      };
      return show('privacy', await benchPrivacy({ ...options, ...numbers, onRow }), json);
    }),
  );

interface BandwidthFlags {
  readonly example: string;
  readonly only?: string;
  readonly python?: string;
  readonly loopback?: boolean;
  readonly json?: boolean;
}

const bandwidth = new Command('bandwidth')
  .description(
    'a real trainer and workers over slow links: bytes per gradient, round times; beside it float32 averaging',
  )
  .option('--example <dir>', 'directory with model/ and train.jsonl', 'examples/tiny-reviews')
  .option('--only <part>', 'cells whose name contains this')
  .option('--python <file>', 'Python that has torch, for all-reduce with gloo (default: left out)')
  .option('--loopback', 'no network namespaces, also where they can be had')
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: BandwidthFlags) =>
    runCommand(async () => {
      const { benchBandwidth } = await import('../bench/bandwidth.ts');
      const onRow = (row: object): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      return show('bandwidth', await benchBandwidth({ ...options, onRow }), json);
    }),
  );

interface LearningFlags {
  readonly example: string;
  readonly table?: TableName[];
  readonly seeds?: number;
  readonly firstSeed?: number;
  readonly budget?: number;
  readonly json?: boolean;
}

const learning = new Command('learning')
  .description(
    'accuracy and loss of every choice over seeds: codecs, workers, directions, estimator, stripes, staleness, cap',
  )
  .option('--example <dir>', 'directory with model/, train.jsonl and dev.jsonl', 'examples/tiny-reviews')
  .addOption(new Option('--table <names...>', 'tables to measure (all)').choices(TABLES))
  .option('--seeds <n>', 'runs of each choice (3)', wholeNumber)
  .option('--first-seed <n>', 'the first of them (1)', wholeNumber)
  .option('--budget <n>', 'directions of a run (2560)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, table, ...options }: LearningFlags) =>
    runCommand(async () => {
      const { benchLearning } = await import('../bench/learning.ts');
      const onRow = ({ curve: _, ...row }: LearningRow): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      return show('learning', await benchLearning({ ...options, ...(table && { tables: table }), onRow }), json);
    }),
  );

const quality = new Command('quality')
  .description('finished runs on the test split: before, and the checkpoint that was best on the dev split')
  .argument('<rundir...>', 'run directories of onebyte simulate')
  .option('--threads <n>', 'threads', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action((directories: string[], { threads, json }: { threads?: number; json?: boolean }) =>
    runCommand(async () => {
      const { benchQuality } = await import('../bench/quality.ts');
      const runs = directories.map((directory) => {
        const file = join(directory, 'run.yaml');
        const { model, data, seed, learning } = readRunFile(file);
        if (data.test === undefined) throw usageError(`${file}: data.test is missing; quality is measured on it`);
        return { directory, model, test: data.test, data, learning, seed, threads: threads ?? usableCores() };
      });
      const onRow = ({ curve: _, ...row }: QualityRow): void => void process.stderr.write(`${JSON.stringify(row)}\n`);
      return show('quality', await benchQuality(runs, onRow), json);
    }),
  );

interface ReportFlags {
  readonly results: string;
  readonly page: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

const report = new Command('report')
  .description(
    'write the tables of README.md, docs/benchmarks.md and docs/scale.md and the plots in docs/plots anew from result files, and one HTML page of all',
  )
  .option('--results <dir>', 'result files: last lines of onebyte bench … --json', 'bench/results')
  .option('--page <file>', 'HTML page to write', 'bench/results/report.html')
  .option('--json', 'end with one line of JSON on stdout')
  .option('--check', 'write nothing; fail where a table or plot is not what the results give')
  .action((flags: ReportFlags) =>
    runCommand(async () => {
      const { benchReport } = await import('../bench/report.ts');
      const written = benchReport({
        ...flags,
        documents: ['README.md', 'docs/benchmarks.md', 'docs/scale.md'],
        plots: 'docs/plots',
      });
      if (flags.json) printJson({ written });
      else if (!flags.check) process.stdout.write(`${written.join('\n')}\n`);
      return EXIT.done;
    }),
  );

export const benchCommand = new Command('bench')
  .description(
    'measure this machine: kernels, forward, steps, agreement, protocol, bandwidth, learning, quality, liars, hostile, leakage, privacy; report',
  )
  .addCommand(kernels)
  .addCommand(forward)
  .addCommand(steps)
  .addCommand(agreement)
  .addCommand(protocol)
  .addCommand(bandwidth)
  .addCommand(learning)
  .addCommand(quality)
  .addCommand(report)
  .addCommand(liars)
  .addCommand(hostile)
  .addCommand(leakage)
  .addCommand(privacy)
  .addHelpText('after', '\nExample:\n  onebyte bench kernels --only simd --json\n');

/** How each is called; models and run directories are the caller's. */
const EXAMPLES: { readonly [name: string]: string } = {
  kernels: '--only simd',
  forward: '--model ./SmolLM2-135M-Instruct --adapters 16',
  steps: '--model ./SmolLM2-135M-Instruct',
  agreement: '--json',
  protocol: '--json',
  liars: '--json',
  hostile: '--json',
  leakage: '--only which',
  privacy: '--epsilon 0 4',
  bandwidth: '--json',
  learning: '--budget 2560',
  quality: 'runs/first runs/second',
  report: '--check',
};
for (const command of benchCommand.commands)
  command.addHelpText('after', `\nExample:\n  onebyte bench ${command.name()} ${EXAMPLES[command.name()]}\n`);
