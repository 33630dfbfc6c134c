/** The report as one HTML page that needs no other file. */
import { escapeXml, type Plot, svg } from './plot.ts';
import { provenance, type ResultFile } from './results.ts';
import type { Table } from './table.ts';

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}section{margin:2.5rem 0;overflow-x:auto}svg{max-width:44rem}
.from,.note{color:#555;font-size:.9rem}`;

const cells = (row: readonly string[], tag: 'td' | 'th'): string =>
  `<tr>${row.map((cell) => `<${tag}>${escapeXml(cell)}</${tag}>`).join('')}</tr>`;

/** @param others results that have no table of their own: shown as they are */
export function page(
  tables: readonly Table[],
  plots: ReadonlyMap<string, Plot>,
  others: readonly ResultFile[],
): string {
  const sections = [...tables.map((table) => section(table, plots.get(table.name))), ...others.map(plain)];
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>onebyte: measurements</title><style>${STYLE}</style>
<h1>onebyte: measurements</h1>
<p>Written by <code>onebyte bench report</code>. Under each table stands what to type to measure it, and where that was done.</p>
${sections.join('\n')}
</html>
`;
}

function section({ name, caption, head, rows, notes, from, command }: Table, plot: Plot | undefined): string {
  const body = from
    ? `<table>${cells(head, 'th')}${rows.map((row) => cells(row, 'td')).join('')}</table>${plot ? svg(plot) : ''}
${notes.map((note) => `<p class="note">${escapeXml(note)}</p>`).join('')}<p class="from">${escapeXml(provenance(from))}</p>`
    : `<p>Not measured yet: <code>${escapeXml(command)}</code></p>`;
  return `<section id="${name}"><h2>${escapeXml(caption)}</h2>${body}</section>`;
}

function plain(file: ResultFile): string {
  const head = [...new Set(file.rows.flatMap((row) => Object.keys(row)))];
  const text = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value ?? ''));
  const rows = file.rows.map((row) =>
    cells(
      head.map((key) => text(row[key])),
      'td',
    ),
  );
  return `<section id="${escapeXml(file.benchmark)}"><h2>${escapeXml(file.benchmark)}</h2><table>${cells(head, 'th')}${rows.join('')}</table>
<p class="from">${escapeXml(provenance(file))}</p></section>`;
}
