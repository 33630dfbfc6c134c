/** Whether the likeliest continuation of a row's prompt is the completion of that row. */
import type { Example } from '../data/dataset.ts';
import { BATCH_ROWS, generateTexts, type Writer } from '../model/generate.ts';

export interface Continued {
  /** What the model writes: as many tokens as the completion has or more, unless it ends before. */
  readonly continuation: string;
  /** Every token of it is the completion's, the ending one included where the completion has one. */
  readonly exact: boolean;
}

/** @param examples rows with a completion */
export async function continueExamples(writer: Writer, examples: readonly Example[]): Promise<Map<Example, Continued>> {
  const continued = new Map<Example, Continued>();
  // Rows of one length end together.
  const length = ({ options, right }: Example): number => options[right]!.ids.length - options[right]!.firstCompletion;
  const sorted = [...examples].sort((a, b) => length(a) - length(b));
  for (let first = 0; first < sorted.length; first += BATCH_ROWS) {
    const batch = sorted.slice(first, first + BATCH_ROWS);
    const rows = batch.map(({ options, right }) => options[right]!);
    const texts = await generateTexts(
      writer,
      rows.map(({ ids, firstCompletion }) => ids.slice(0, firstCompletion)),
      {
        ...{ temperature: 0, topP: 1, seed: 0, stop: [], endIds: writer.tokenizer.endIds },
        maxTokens: Math.max(...batch.map(length)),
      },
    );
    batch.forEach((example, i) => {
      const completion = rows[i]!.ids.slice(rows[i]!.firstCompletion);
      const ids = texts[i]!.ids.slice(0, completion.length);
      continued.set(example, { continuation: texts[i]!.text, exact: String(ids) === String(completion) });
    });
  }
  return continued;
}
