/** Rows of tab-separated values as SST-2 has them: a header line, a `label` column with the index of the verbalizer, no quoting. */

import { readLines } from '../platform/lines.ts';
import { usageError } from '../proto/operating-error.ts';
import type { TextExample } from './text-example.ts';

/** How a row of columns becomes a prompt and its options; the run file's `data`. */
export interface TsvRules {
  /** The prompt, each column's name in braces: `{sentence} It was`. */
  readonly template?: string | undefined;
  /** The completion of label 0, 1 …: `[" terrible", " great"]`. */
  readonly verbalizers?: readonly string[] | undefined;
}

const LABEL = 'label';
/** A column's name in a template. */
const COLUMN = /\{([^{}]*)\}/g;

/**
 * The rows of `file` in order; white space around a cell is dropped.
 * @throws OperatingError (usage) that names the file, the line and the column
 */
export function* readTsv(file: string, { template, verbalizers }: TsvRules): Generator<TextExample> {
  if (template === undefined || verbalizers === undefined)
    throw usageError(`${file}: a TSV file needs data.template and data.verbalizers in the run file`);
  let columns: string[] | undefined;
  for (const { number, text } of readLines(file)) {
    const cells = text.split('\t').map((cell) => cell.trim());
    if (columns === undefined) {
      columns = cells;
      checkColumns(`${file}:${number}`, columns, template);
    } else {
      if (cells.length !== columns.length)
        throw usageError(
          `${file}:${number}: ${cells.length} columns, expected ${columns.length} (${columns.join(', ')})`,
        );
      const values = new Map(columns.map((column, i) => [column, cells[i] ?? '']));
      const right = parseLabel(`${file}:${number}`, values.get(LABEL) ?? '', verbalizers.length);
      const prompt = template.replace(COLUMN, (_, column: string) => values.get(column) ?? '');
      yield { line: number, prompt, options: verbalizers, right, classified: true };
    }
  }
}

function checkColumns(where: string, columns: readonly string[], template: string): void {
  if (new Set(columns).size !== columns.length)
    throw usageError(`${where}: two columns of one name: ${columns.join(', ')}`);
  const wanted = Array.from(template.matchAll(COLUMN), ([, column]) => column!);
  if (wanted.length === 0) throw usageError(`data.template ${JSON.stringify(template)} names no column in braces`);
  for (const column of [...wanted, LABEL])
    if (!columns.includes(column))
      throw usageError(`${where}: no column ${JSON.stringify(column)}; the header has ${columns.join(', ')}`);
}

function parseLabel(where: string, cell: string, labels: number): number {
  const label = /^\d{1,9}$/.test(cell) ? Number(cell) : Number.NaN;
  if (!(label < labels))
    throw usageError(
      `${where}: label is ${JSON.stringify(cell)}, expected an integer from 0 to ${labels - 1}, one per verbalizer`,
    );
  return label;
}
