/** `onebyte eval`: loss and accuracy of a model, with or without an adapter, on a data file. */

import { on } from 'node:events';
import { Command, Option } from 'commander';
import { type Dataset, type Example, readDataset } from '../data/dataset.ts';
import { adapterLayout } from '../kernels/adapter-layout.ts';
import { type BaseModel, openBaseModel } from '../model/base-model.ts';
import { createContinuation } from '../model/runtime/continuation.ts';
import { createForward, type ForwardOptions } from '../model/runtime/forward.ts';
import { loadTokenizer } from '../model/tokenizer/tokenizer.ts';
import { usableCores } from '../platform/cores.ts';
import type { EvaluatorMessage, EvaluatorRequest } from '../processes/evaluator-messages.ts';
import { tellParent } from '../processes/parent.ts';
import { adapterOf } from '../processes/prepare-run.ts';
import type { AdapterDescription } from '../proto/adapter.ts';
import { figuresOf, figuresText, percent } from '../proto/evaluation.ts';
import { EXIT, type ExitCode, OperatingError, usageError } from '../proto/operating-error.ts';
import { DataRules } from '../proto/run-config.ts';
import { readRunFile, workerSettings } from '../settings/run-file.ts';
import { completionLoss, type ExampleResult } from '../worker/objectives/completion-loss.ts';
import { ADAPTER_HELP, namedAdapter } from './adapter-directory.ts';
import { printJson, runCommand, toStderr, withSettings } from './command.ts';
import { type Continued, continueExamples } from './exact-match.ts';
import { findModel } from './find-model.ts';
import { ROW_LOSS } from './format.ts';
import { threadCount } from './thread-count.ts';

interface Flags {
  readonly run?: string;
  readonly set: string[];
  readonly model?: string;
  readonly adapter?: string;
  readonly data?: string;
  readonly threads?: number;
  readonly json?: boolean;
  readonly perExample?: boolean;
  readonly generate?: boolean;
  readonly serve?: boolean;
}

/** What `--json` prints. Losses in nats. */
export interface EvalResult {
  /** Mean over the rows of the summed negative log likelihood of the right completion. */
  readonly loss: number | undefined;
  /** The same per completion token. */
  readonly lossPerToken?: number | undefined;
  /** Part of the classified rows whose right option is the likeliest; absent without options. */
  readonly accuracy: number | undefined;
  /** Part of the rows with a completion whose likeliest continuation is that completion; only with --generate. */
  readonly exactMatch?: number | undefined;
  readonly rows: number;
  readonly truncated: number;
  readonly merged: number;
  readonly examples?: readonly (ExampleResult & Partial<Continued> & Pick<Example, 'line' | 'truncated' | 'merged'>)[];
}

export const evalCommand = withSettings(
  new Command('eval')
    .description('loss and accuracy of a model, with or without an adapter, on a JSONL, TSV or CSV file')
    .option('--model <dir>', 'model directory or org/name')
    .option('--adapter <dir>', ADAPTER_HELP)
    .option('--data <file>', 'rows to evaluate')
    .option('--run <run.yaml>', 'run file: its model, its test split and its data rules are the defaults')
    .option('--threads <n>', 'threads', threadCount)
    .option('--per-example', 'results of every row')
    .option('--generate', 'also go on with the prompt of every row that has a completion, and count exact matches')
    .option('--json', 'end with one line of JSON on stdout')
    .addOption(new Option('--serve', 'of `onebyte simulate`: evaluate the adapters that it names').hideHelp()),
)
  .addHelpText(
    'after',
    `\n${ROW_LOSS}\n\nExample:\n  onebyte eval --model ./model --adapter runs/first/checkpoints/best --data test.jsonl\n`,
  )
  .action(async (flags: Flags) => {
    await runCommand(() => evaluate(flags));
    // An open channel would keep a process that failed from ending.
    if (flags.serve && process.connected) process.disconnect();
  });

async function evaluate(flags: Flags): Promise<ExitCode> {
  // Heard from now on: the first request may come at once. Between two of them nothing else keeps the process.
  const requests = flags.serve ? on(process, 'message') : undefined;
  if (requests) process.channel?.ref();
  const run = flags.run === undefined ? undefined : readRunFile(flags.run, flags.set);
  const settings = run?.worker ?? workerSettings(flags.set);
  const model = flags.model ?? run?.model;
  const data = flags.data ?? run?.data.test;
  if (model === undefined || data === undefined) throw usageError('--model and --data are needed (or --run with both)');
  const directory = await findModel(model, toStderr);
  const base = openBaseModel(directory);
  // Without a run file nothing is cut that the model can read.
  const rules = run?.data ?? { ...DataRules.parse({}), maxLength: base.maxPositions };
  const read = () => readRows(directory, base, data, rules, flags.generate ?? false);
  const options = { ...settings, threads: flags.threads ?? settings.threads ?? usableCores() };
  if (requests) {
    if (run === undefined) throw usageError('--serve needs --run');
    return serve(requests, base, adapterOf(run, base).description, read(), options);
  }
  const adapter = flags.adapter === undefined ? undefined : await namedAdapter(flags.adapter, base);
  const layout = adapter && { layout: adapterLayout(adapter.description.modules) };
  // The rows are read while the provider is opened; whoever waits for both hears of the first failure.
  const reading = read();
  const opening = createForward(base, layout, options);
  reading.catch(() => opening.then((forward) => forward.close()).catch(() => {}));
  const [forward, { tokenizer, dataset }] = await Promise.all([opening, reading]);
  try {
    const results = await completionLoss.evaluate(forward, dataset.examples, adapter?.matrices).finally(forward.close);
    let continued: ReadonlyMap<Example, Continued> | undefined;
    if (flags.generate) {
      // After the other, so that the weights are in memory once.
      const theta = layout && { ...layout, theta: adapter!.matrices };
      const continuation = await createContinuation(base, theta, options);
      continued = await continueExamples({ continuation, tokenizer }, completionsOf(dataset)).finally(
        continuation.close,
      );
    }
    report(flags, dataset, results, continued);
  } finally {
    tokenizer.close();
  }
  return EXIT.done;
}

/** The rows, and the tokenizer that read them. @throws OperatingError (usage) where --generate is given and no row has a completion */
async function readRows(directory: string, base: BaseModel, data: string, rules: DataRules, generate: boolean) {
  const tokenizer = await loadTokenizer(directory, base.vocabularySize);
  const dataset = await readDataset(data, tokenizer, rules);
  if (generate && completionsOf(dataset).length === 0)
    throw usageError(`${data}: no row has a completion, which --generate compares; leave --generate out`);
  return { tokenizer, dataset };
}

const completionsOf = ({ examples }: Dataset): Example[] => examples.filter(({ classified }) => !classified);

/** Answers `requests` with the figures of the rows under the adapters that they name, all of one description, until the process is ended. */
async function serve(
  requests: AsyncIterable<unknown[]>,
  base: BaseModel,
  { modules }: AdapterDescription,
  reading: ReturnType<typeof readRows>,
  options: ForwardOptions,
): Promise<never> {
  const layout = adapterLayout(modules);
  const [forward, { tokenizer, dataset }] = await Promise.all([createForward(base, { layout }, options), reading]);
  tokenizer.close();
  // An adapter of zeros changes nothing.
  const none = new Float32Array(layout.elements);
  for await (const [request] of requests) {
    const { adapter } = request as EvaluatorRequest;
    const theta = adapter === undefined ? none : (await namedAdapter(adapter, base)).matrices;
    const figures = figuresOf(completionLoss.count(await completionLoss.evaluate(forward, dataset.examples, theta)));
    await tellParent<EvaluatorMessage>({ kind: 'evaluated', figures });
  }
  throw new OperatingError(EXIT.internal, 'requests end with the process');
}

function report(
  flags: Flags,
  { examples, truncated, merged }: Dataset,
  results: readonly ExampleResult[],
  continued: ReadonlyMap<Example, Continued> | undefined,
): void {
  const result: EvalResult = {
    ...figuresOf(completionLoss.count(results)),
    ...(continued && { exactMatch: [...continued.values()].filter(({ exact }) => exact).length / continued.size }),
    rows: results.length,
    truncated,
    merged,
    ...((flags.perExample ?? false) && {
      examples: results.map((result, i) => {
        const { line, truncated, merged } = examples[i]!;
        return { line, truncated, merged, ...result, ...continued?.get(examples[i]!) };
      }),
    }),
  };
  if (flags.json) {
    printJson(result);
    return;
  }
  for (const { line, nll, tokens, correct: right, exact, continuation, ...prompt } of result.examples ?? []) {
    const verdict =
      exact === undefined
        ? right === undefined
          ? ''
          : right
            ? '  right'
            : '  wrong'
        : exact
          ? '  exact'
          : `  got ${JSON.stringify(continuation)}`;
    const notes = `${prompt.truncated ? '  truncated' : ''}${prompt.merged ? '  merged' : ''}`;
    process.stdout.write(`line ${line}: nll ${nll.toFixed(4)} over ${tokens} tokens${verdict}${notes}\n`);
  }
  const exact = result.exactMatch === undefined ? '' : `, exact match ${percent(result.exactMatch)}`;
  const notes = [`${truncated} truncated`, `${merged} merged`].filter((note) => !note.startsWith('0 '));
  process.stdout.write(
    `${result.rows} rows: loss ${figuresText(result, 4)}${exact}${notes.map((note) => `, ${note}`).join('')}\n`,
  );
}
