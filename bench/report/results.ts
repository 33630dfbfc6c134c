/** Result files: what `onebyte bench … --json` printed, kept in bench/results with the machine that it was measured on. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../../platform/read-json-file.ts';
import { usageError } from '../../proto/operating-error.ts';
import type { AgreementBench } from '../agreement.ts';
import type { BandwidthBench } from '../bandwidth.ts';
import type { LeakageBench } from '../leakage.ts';
import type { LearningBench } from '../learning.ts';
import type { TableName } from '../learning-tables.ts';
import type { PrivacyBench } from '../privacy.ts';
import type { ProtocolBench } from '../protocol.ts';
import type { QualityBench } from '../quality.ts';
import type { StepsBench } from '../steps.ts';

const Machine = z.looseObject({
  cpu: z.string(),
  cores: z.number(),
  node: z.string(),
  memoryGiB: z.number(),
  loadBefore: z.number(),
  versions: z.record(z.string(), z.string()),
});
const ResultFile = z.looseObject({
  benchmark: z.string(),
  /** What was typed. */
  command: z.string(),
  /** Day of the measurement, ISO. */
  date: z.string(),
  machine: Machine.optional(),
  rows: z.array(z.record(z.string(), z.unknown())),
});
export type ResultFile = z.infer<typeof ResultFile>;

/** By the name of the benchmark. Files of benchmarks that the report has no table for are shown as they are. */
export interface Results {
  readonly files: readonly ResultFile[];
  readonly bandwidth?: Measured<BandwidthBench>;
  /** By table: each may have been measured alone. */
  readonly learning: ReadonlyMap<TableName, Measured<LearningBench>>;
  readonly protocol?: Measured<Pick<ProtocolBench, 'rows' | 'settings'>>;
  readonly quality?: Measured<QualityBench>;
  readonly steps?: Measured<StepsBench>;
  readonly agreement?: Measured<Pick<AgreementBench, 'rows'>>;
  /** All files, the latest last: attacks, examples and budgets may have been measured apart. */
  readonly leakage: readonly Measured<LeakageBench>[];
  readonly privacy: readonly Measured<PrivacyBench>[];
}
type Measured<Bench> = Pick<ResultFile, 'benchmark' | 'command' | 'date' | 'machine'> & Bench;

/** The latest file of each benchmark in `directory`, of learning that of each table. @throws OperatingError (usage) that names the file and the key */
export function readResults(directory: string): Results {
  const names = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith('.json')) : [];
  const files = names.sort().map((name) => readResult(join(directory, name)));
  files.sort((a, b) => a.date.localeCompare(b.date));
  const allOf = <Bench>(name: string): Measured<Bench>[] =>
    files.filter(({ benchmark }) => benchmark === name) as unknown as Measured<Bench>[];
  const byTable = allOf<LearningBench>('learning').flatMap((file) =>
    file.rows.map(({ table }) => [table, file] as const),
  );
  const latest = Object.fromEntries(files.map((file) => [file.benchmark, file]));
  const [leakage, privacy] = [allOf<LeakageBench>('leakage'), allOf<PrivacyBench>('privacy')];
  return { files, ...latest, learning: new Map(byTable), leakage, privacy };
}

const MAX_RESULT_BYTES = 2 ** 24;

function readResult(file: string): ResultFile {
  const parsed = ResultFile.safeParse(readJsonFile(file, MAX_RESULT_BYTES));
  if (!parsed.success) throw usageError(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Where and how a result was measured, in one line. */
export function provenance({ command, date, machine }: Pick<ResultFile, 'command' | 'date' | 'machine'>): string {
  if (!machine) return `${command}, ${date}`;
  const { cpu, cores, memoryGiB, node, versions, loadBefore } = machine;
  const software = [`Node.js ${node}`, ...Object.entries(versions).map(([name, version]) => `${name} ${version}`)];
  return `${command}, ${date}; ${cpu}, ${cores} cores, ${memoryGiB} GiB; ${software.join(', ')}; load average before: ${loadBefore}`;
}
