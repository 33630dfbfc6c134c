/** Rows of tab- or comma-separated values: a header line, a `label` column with the index of the verbalizer; quotes as pandas writes them. */

import { readLines } from '../platform/lines.ts';
import { usageError } from '../proto/operating-error.ts';
import type { DataRules } from '../proto/run-config.ts';
import type { TextExample } from './text-example.ts';

const LABEL = 'label';
/** Lines that a cell may hold. */
const MAX_CELL_LINES = 1000;
/** A column's name in a template. */
const COLUMN = /\{([^{}]*)\}/g;

/**
 * The rows of `file` in order; white space around a cell is dropped.
 * @param separator between cells
 * @throws OperatingError (usage) that names the file, the line and the column
 */
export function* readTsv(
  file: string,
  { template, verbalizers }: DataRules,
  separator: '\t' | ',',
): Generator<TextExample> {
  if (template === undefined || verbalizers === undefined)
    throw usageError(
      `${file}: a file of columns needs data.template and data.verbalizers in the run file, which onebyte eval takes with --run`,
    );
  let columns: string[] | undefined;
  for (const { line, cells } of rowsOfCells(file, separator)) {
    if (columns === undefined) {
      columns = cells;
      checkForm(`${file}:${line}`, columns, separator);
      checkColumns(`${file}:${line}`, columns, template);
    } else {
      if (cells.length !== columns.length)
        throw usageError(
          `${file}:${line}: ${cells.length} columns, expected ${columns.length} (${columns.join(', ')})`,
        );
      const values = new Map(columns.map((column, i) => [column, cells[i] ?? '']));
      const right = parseLabel(`${file}:${line}`, values.get(LABEL) ?? '', verbalizers.length);
      const prompt = template.replace(COLUMN, (_, column: string) => values.get(column) ?? '');
      yield { line, row: { prompt, options: verbalizers }, right, classified: true };
    }
  }
}

/**
 * Each row's cells, and its first line. A quoted cell may hold line ends. In files of tabs, which often have quotes that mean
 * nothing, a quote that is not closed opens such a cell only where the row is of another width than the first.
 */
function* rowsOfCells(file: string, separator: string): Generator<{ line: number; cells: string[] }> {
  let width: number | undefined;
  /** The lines of a row up to here, with their ends. */
  let open: { line: number; text: string } | undefined;
  for (const { number, text, crlf } of readLines(file, { blank: true })) {
    if (open === undefined && text.trim() === '') continue;
    const whole = (open?.text ?? '') + text;
    const line = open?.line ?? number;
    const { cells, unclosed } = splitCells(whole, separator);
    width ??= cells.length;
    const goesOn = unclosed && (separator === ',' || open !== undefined || cells.length !== width);
    open = goesOn ? { line, text: whole + (crlf ? '\r\n' : '\n') } : undefined;
    if (!goesOn) yield { line, cells };
    else if (number - line > MAX_CELL_LINES) break;
  }
  if (open !== undefined)
    throw usageError(`${file}:${open.line}: a quote that opens a cell is not closed within ${MAX_CELL_LINES} lines`);
}

/** The cells of a row. A cell in quotes, whose own quotes are doubled, stands for what is in them; any other quote is itself. */
function splitCells(row: string, separator: string): { cells: string[]; unclosed: boolean } {
  const cells: string[] = [];
  let unclosed = false;
  for (let at = 0; at <= row.length; ) {
    const closing = row[at] === '"' ? closingQuote(row, at) : undefined;
    unclosed ||= closing === row.length;
    if (closing !== undefined && (closing === row.length - 1 || row[closing + 1] === separator)) {
      cells.push(
        row
          .slice(at + 1, closing)
          .replaceAll('""', '"')
          .trim(),
      );
      at = closing + 2;
    } else {
      const found = row.indexOf(separator, at);
      const end = found < 0 ? row.length : found;
      cells.push(row.slice(at, end).trim());
      at = end + 1;
    }
  }
  return { cells, unclosed };
}

/** Where the quote that opens at `start` is closed; the length of the row where it is not. */
function closingQuote(row: string, start: number): number {
  for (let at = start + 1; at < row.length; at++) {
    if (row[at] !== '"') continue;
    if (row[at + 1] !== '"') return at;
    at++;
  }
  return row.length;
}

/** Says what the file is where it is not what its name says. */
function checkForm(where: string, columns: readonly string[], separator: string): void {
  if (columns[0]?.startsWith('{')) throw usageError(`${where}: JSON, not columns; a file of JSON lines ends in .jsonl`);
  const isComma = separator === ',';
  if (columns.length === 1 && columns[0]?.includes(isComma ? '\t' : ','))
    throw usageError(
      `${where}: columns separated by ${isComma ? 'tabs, not commas' : 'commas, not tabs'}; such a file ends in ${isComma ? '.tsv' : '.csv'}`,
    );
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
