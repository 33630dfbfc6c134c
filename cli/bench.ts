/** `onebyte bench …`: measurements, each loaded when it is asked for. */
import { Command } from 'commander';
import { EXIT, type ExitCode } from '../proto/operating-error.ts';
import { resolveModel } from '../worker/model/hub.ts';
import { printJson, runCommand, wholeNumber } from './command.ts';

/** Prints a benchmark's result: as JSON, or its rows as a table. */
function show(result: { readonly rows?: readonly object[] }, json: boolean | undefined): ExitCode {
  if (json) printJson(result);
  else {
    const { rows, ...rest } = result;
    if (rows) console.table(rows);
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
      return show(await benchKernels(only === undefined ? {} : { only }), json);
    }),
  );

interface ForwardFlags {
  readonly model: string;
  readonly adapters?: number;
  readonly directions?: number;
  readonly runs?: number;
  readonly threads?: number;
  readonly quantize?: 'none' | 'int8';
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
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ model, json, ...options }: ForwardFlags) =>
    runCommand(async () => {
      const { benchForward } = await import('../bench/forward.ts');
      return show(await benchForward({ model: await resolveModel(model), ...options }), json);
    }),
  );

interface ProtocolFlags {
  readonly workers?: number;
  readonly rounds?: number;
  readonly directions?: number;
  readonly processes?: number;
  readonly json?: boolean;
}

const protocol = new Command('protocol')
  .description('rounds of a trainer with many workers: real streams, durable records, workers that only decode')
  .option('--workers <n>', 'workers (1000)', wholeNumber)
  .option('--rounds <n>', 'rounds that count (100)', wholeNumber)
  .option('--directions <K>', 'gradient bytes of a worker and round (8)', wholeNumber)
  .option('--processes <n>', 'processes that hold the workers (2)', wholeNumber)
  .option('--json', 'end with one line of JSON on stdout')
  .action(({ json, ...options }: ProtocolFlags) =>
    runCommand(async () => {
      const { benchProtocol } = await import('../bench/protocol.ts');
      return show(await benchProtocol(options), json);
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
      return show(await benchLiars({ ...options, onRow }), json);
    }),
  );

export const benchCommand = new Command('bench')
  .description('measure this machine: kernels, forward, protocol, liars')
  .addCommand(kernels)
  .addCommand(forward)
  .addCommand(protocol)
  .addCommand(liars)
  .addHelpText('after', '\nExample:\n  onebyte bench kernels --only simd --json\n');
