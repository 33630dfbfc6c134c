/** Whether the likeliest continuation of a row's prompt is the completion of that row. */
import type { Example } from '../data/dataset.ts';
import { BATCH_ROWS, generateTexts, type Writer } from '../model/generate.ts';
import type { TokenRow } from '../model/token-row.ts';

export interface Continued {
  /** What the model writes: as many tokens as the completion has or more, unless it ends before. */
  readonly continuation: string;
  /** Every token of it is the completion's, up to the ending one where the completion has one: nobody writes beyond that. */
  readonly exact: boolean;
}

/** @param examples rows with a completion */
export async function continueExamples(writer: Writer, examples: readonly Example[]): Promise<Map<Example, Continued>> {
  const continued = new Map<Example, Continued>();
  const { endIds } = writer.tokenizer;
  // Rows of one length end together.
  const length = ({ options, right }: Example): number => completionOf(options[right]!, endIds).length;
  const sorted = [...examples].sort((a, b) => length(a) - length(b));
  for (let first = 0; first < sorted.length; first += BATCH_ROWS) {
    const batch = sorted.slice(first, first + BATCH_ROWS);
    const rows = batch.map(({ options, right }) => options[right]!);
    const texts = await generateTexts(
      writer,
      rows.map((row) => row.ids.slice(0, firstOf(row))),
      {
        ...{ temperature: 0, topP: 1, seed: 0, stop: [], endIds },
        maxTokens: Math.max(...batch.map(length)),
      },
    );
    batch.forEach((example, i) => {
      const completion = completionOf(rows[i]!, endIds);
      const ids = texts[i]!.ids.slice(0, completion.length);
      continued.set(example, { continuation: texts[i]!.text, exact: String(ids) === String(completion) });
    });
  }
  return continued;
}

/** Where the last stretch of labels begins: the completion, or the last answer of a chat. */
function firstOf({ labels }: TokenRow): number {
  let first = labels.at(-1)!;
  for (const label of labels.toReversed()) {
    if (label < first - 1) break;
    first = label;
  }
  return first;
}

/** Chat templates write a line end, say, behind the token that ends a turn: it is learnt, but no model comes to it. */
function completionOf(row: TokenRow, endIds: ReadonlySet<number>): readonly number[] {
  const completion = row.ids.slice(firstOf(row), row.labels.at(-1)! + 1);
  const end = completion.findIndex((id) => endIds.has(id));
  return end < 0 ? completion : completion.slice(0, end + 1);
}
