/** `onebyte bench report`: writes the marked tables of documents anew from result files, and one HTML page of all. */
import { readFileSync, writeFileSync } from 'node:fs';
import { EXIT, OperatingError } from '../proto/operating-error.ts';
import { page } from './report/page.ts';
import { allPlots } from './report/plots.ts';
import { readResults } from './report/results.ts';
import { withTables } from './report/table.ts';
import { allTables } from './report/tables.ts';

export interface ReportOptions {
  /** Directory of the result files. */
  readonly results: string;
  /** Markdown files with markers: `<!-- table NAME -->` … `<!-- end of table NAME -->`. */
  readonly documents: readonly string[];
  /** HTML file to write; undefined: none. */
  readonly page?: string;
  /** Write nothing; fail where a document is not what the results give. */
  readonly check?: boolean;
}

/** @returns the files that were written @throws OperatingError (usage) with `check`, for a document that is out of date */
export function benchReport({ results: directory, documents, page: pageFile, check }: ReportOptions): string[] {
  const results = readResults(directory);
  const tables = allTables(results);
  const written: string[] = [];
  for (const file of documents) {
    const before = readFileSync(file, 'utf8');
    const after = withTables(before, tables, file);
    if (after === before) continue;
    if (check)
      throw new OperatingError(
        EXIT.usage,
        `${file}: its tables are not what ${directory} gives; run: onebyte bench report`,
      );
    writeFileSync(file, after);
    written.push(file);
  }
  if (pageFile !== undefined && !check) {
    const inTables = new Set(tables.map(({ from }) => from?.benchmark));
    const others = results.files.filter(({ benchmark }) => !inTables.has(benchmark));
    writeFileSync(pageFile, page(tables, allPlots(results), others));
    written.push(pageFile);
  }
  return written;
}
