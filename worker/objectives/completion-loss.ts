/** The objective of a row with a completion: its negative log likelihood; of a row with options also whether the right one is the likeliest. */
import type { Objective } from './objective.ts';

/** Rows of one forward pass: few where a pass is cut by the CPU's caches, since options of one prompt that are cut apart share nothing. */
const BATCH_ROWS = 64;
/** With the room of a device a pass is bound by its launches, and holds a whole split if it may. */
const CUDA_BATCH_ROWS = 1024;

export interface ExampleResult {
  /** Summed negative log likelihood of the right completion, nats. */
  readonly nll: number;
  /** Completion tokens of the right option. */
  readonly tokens: number;
  /** The loss of every option, in order; only where the row has options. */
  readonly optionNll: readonly number[] | undefined;
  /** The right option is the likeliest (ties count as wrong); undefined without options. */
  readonly correct: boolean | undefined;
}

export const completionLoss: Objective<ExampleResult> = {
  trainingRow: ({ options, right }) => options[right]!,

  async evaluate(forward, examples, theta) {
    const rows = examples.flatMap(({ options }) => options);
    const nll: number[] = [];
    const batch = forward.chosen.provider === 'cuda' ? CUDA_BATCH_ROWS : BATCH_ROWS;
    for (let at = 0; at < rows.length; at += batch)
      nll.push(...(await forward.losses(rows.slice(at, at + batch), 1, theta)));
    let first = 0;
    return examples.map(({ options, right, classified }) => {
      const optionNll = nll.slice(first, first + options.length);
      first += options.length;
      const own = optionNll[right]!;
      return {
        nll: own,
        tokens: options[right]!.labels.length,
        optionNll: classified ? optionNll : undefined,
        correct: classified ? optionNll.every((other, i) => i === right || own < other) : undefined,
      };
    });
  },

  count: (results) => ({
    rows: results.length,
    correct: results.filter(({ correct }) => correct).length,
    classified: results.filter(({ correct }) => correct !== undefined).length,
    lossSum: results.reduce((sum, { nll }) => sum + nll, 0),
    tokens: results.reduce((sum, { tokens }) => sum + tokens, 0),
  }),
};
