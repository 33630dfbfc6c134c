/** `onebyte bench report`: writes the marked tables of documents anew from result files, their plots, and one HTML page of all. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EXIT, OperatingError } from '../proto/operating-error.ts';
import { page } from './report/page.ts';
import { svg } from './report/plot.ts';
import { allPlots } from './report/plots.ts';
import { readResults } from './report/results.ts';
import { withTables } from './report/table.ts';
import { allTables } from './report/tables.ts';

export interface ReportOptions {
  /** Directory of the result files. */
  readonly results: string;
  /** Markdown files with markers: `<!-- table NAME -->` … `<!-- end of table NAME -->`. */
  readonly documents: readonly string[];
  /** Directory of the tables' plots, SVG files. */
  readonly plots: string;
  /** HTML file to write; undefined: none. */
  readonly page?: string;
  /** Write nothing; fail where a document or plot is not what the results give. */
  readonly check?: boolean;
}

/** @returns the files that were written @throws OperatingError (usage) with `check`, for a file that is out of date */
export function benchReport({ results: directory, documents, plots, page: pageFile, check }: ReportOptions): string[] {
  const results = readResults(directory);
  const tables = allTables(results);
  const drawn = allPlots(results);
  const written: string[] = [];
  const put = (file: string, content: string): void => {
    if (existsSync(file) && readFileSync(file, 'utf8') === content) return;
    if (check)
      throw new OperatingError(EXIT.usage, `${file}: is not what ${directory} gives; run: onebyte bench report`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    written.push(file);
  };
  const plotFiles = new Map([...drawn.keys()].map((name) => [name, join(plots, `${name}.svg`)]));
  for (const file of documents) put(file, withTables(readFileSync(file, 'utf8'), tables, plotFiles, file));
  for (const [name, plot] of drawn) put(plotFiles.get(name)!, `${svg(plot)}\n`);
  if (pageFile !== undefined && !check) {
    const inTables = new Set(tables.map(({ from }) => from?.benchmark));
    const others = results.files.filter(({ benchmark }) => !inTables.has(benchmark));
    writeFileSync(pageFile, page(tables, drawn, others));
    written.push(pageFile);
  }
  return written;
}
