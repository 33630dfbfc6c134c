/** A table of the report, and its form in Markdown. */
import { dirname, relative, sep } from 'node:path';
import type { ResultFile } from './results.ts';
import { provenance } from './results.ts';

export interface Table {
  /** What documents name it by. */
  readonly name: string;
  readonly caption: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences below: how to read it. */
  readonly notes: readonly string[];
  /** Absent: not measured yet. */
  readonly from?: Pick<ResultFile, 'benchmark' | 'command' | 'date' | 'machine'>;
  /** What to type to measure it. */
  readonly command: string;
}

/** Padded, so that it reads as text too. */
function markdown({ caption, head, rows, notes, from, command }: Table, plot: string | undefined): string {
  if (!from) return `${caption}: not measured yet. \`${command}\``;
  const escaped = [head, ...rows].map((cells) => cells.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(3, ...escaped.map((cells) => cells[column]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  const ruled = [line(escaped[0]!), line(widths.map((width) => '-'.repeat(width))), ...escaped.slice(1).map(line)];
  const drawn = plot === undefined ? [] : [`![${caption}](${plot})`, ''];
  return [`${caption}:`, '', ...ruled, '', ...drawn, ...notes, `(${provenance(from)}.)`].join('\n');
}

const marker = (name: string): RegExp =>
  new RegExp(`(<!-- table ${name} -->\n)[\\s\\S]*?(<!-- end of table ${name} -->)`);

/**
 * `text` of the document `file` with every marked table written anew, and the plot that belongs to it below.
 * @param plots files, by the table's name @throws for a marker whose table does not exist
 */
export function withTables(
  text: string,
  tables: readonly Table[],
  plots: ReadonlyMap<string, string>,
  file: string,
): string {
  for (const [, name] of text.matchAll(/<!-- table ([\w-]+) -->/g)) {
    const table = tables.find((each) => each.name === name);
    if (!table || !marker(name!).test(text))
      throw new Error(
        `${file}: the marker of table ${name} has no end, or no such table exists; tables: ${tables.map((each) => each.name).join(', ')}`,
      );
    const plot = plots.get(table.name);
    const content = markdown(table, plot && relative(dirname(file), plot).split(sep).join('/'));
    text = text.replace(marker(name!), (_, begin: string, end: string) => `${begin}${content}\n${end}`);
  }
  return text;
}
