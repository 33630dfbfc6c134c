/** The tables and the plot of docs/privacy.md, from results alone: what attacks recovered, and what a budget costs. */
import type { LeakageRow } from '../leakage/seen.ts';
import type { PrivacyRow } from '../privacy.ts';
import { byteCount, percent, percentSpread, short } from './format.ts';
import type { Plot } from './plot.ts';
import type { Results } from './results.ts';
import type { Table } from './table.ts';

export const privacyTables = (results: Results): Table[] => [
  whichTable(results),
  memberTable(results),
  memberTable(results, SMOLLM2),
  textTable(results),
  canaryTable(results),
  costTable(results, 'directions'),
  costTable(results, 'shard'),
  costTable(results, 'directions', SMOLLM2),
];

const TINY = 'tiny-reviews';
const SMOLLM2 = 'smollm2-sentiment';
const suffix = (example: string): string => (example === TINY ? '' : `-${example}`);
const onExample = (example: string): string => (example === TINY ? '' : ` --example examples/${example}`);

type Attack = LeakageRow['attack'];

/** What the table takes from the file of the attack. */
function measured({ leakage }: Results, attack: Attack, example = TINY) {
  const file = leakage.findLast((each) => each.example === example && each.rows.some((row) => row.attack === attack));
  const name = `leakage-${attack}${suffix(example)}`;
  return {
    name,
    rows: file?.rows.filter((row) => row.attack === attack) ?? [],
    command: `onebyte bench leakage --only ${attack}${onExample(example)} --json > bench/results/${name}.json`,
    ...(file && { from: file }),
  };
}

const bytesSeen = ({ bytes = 0, estimator }: LeakageRow): string =>
  estimator === 'averaging' ? `${byteCount(bytes)}: whole gradients` : byteCount(bytes);
const budget = (epsilon: number | undefined): string => (epsilon ? String(epsilon) : 'none');

function whichTable(results: Results): Table {
  const { rows, ...table } = measured(results, 'which');
  const shown = rows.filter(({ estimator }) => estimator !== 'spsa');
  const sizes = [...new Set(shown.map((row) => row.rows))];
  const lines = [...new Set(shown.map(bytesSeen))];
  const guess = sizes.map((size) => percent(shown.find((row) => row.rows === size)!.chance, 0));
  return {
    ...table,
    caption: 'Part of the rows of a minibatch that was found among 32',
    head: ['bytes seen of one minibatch', ...sizes.map((size) => `${size} row${size === 1 ? '' : 's'}`)],
    rows: [
      ...(shown.length > 0 ? [['none: guessing', ...guess]] : []),
      ...lines.map((line) => [
        line,
        ...sizes.map((size) => {
          const row = shown.find((each) => each.rows === size && bytesSeen(each) === line);
          return row ? percent(row.found, 0) : '–';
        }),
      ]),
    ],
    notes: ['Estimator `backward`.'],
  };
}

function memberTable(results: Results, example = TINY): Table {
  const { rows, ...table } = measured(results, 'member', example);
  return {
    ...table,
    caption: `Is a row in the shard? ${example}`,
    head: ['bytes seen of a run', 'ε of the worker', 'area under the curve', 'advantage', 'allowed by ε'],
    rows: rows.map((row) => [
      bytesSeen(row),
      budget(row.epsilon),
      row.found.toFixed(2),
      percent(row.advantage!, 0),
      row.allowed === undefined ? '–' : percent(row.allowed, 0),
    ]),
    notes: [
      `${rows[0]?.asked} members and as many strangers. Area: the chance that a member scores above a stranger; guessing gives 0.50. Advantage: largest difference of true and false positives, over all thresholds; guessing reaches ${percent(1.22 * Math.sqrt(2 / (rows[0]?.asked ?? 1)), 0)} in one of twenty such samples.`,
    ],
  };
}

function textTable(results: Results): Table {
  const { rows, ...table } = measured(results, 'text');
  return {
    ...table,
    caption: 'Part of the unknown tokens of a row that was found',
    head: ['bytes seen of a minibatch of one row', 'tokens found'],
    rows: [
      ...rows.slice(0, 1).map(({ chance }) => ['none: guessing', percent(chance, 0)]),
      ...rows.map((row) => [bytesSeen(row), percent(row.found, 0)]),
    ],
    notes: [],
  };
}

function canaryTable(results: Results): Table {
  const { rows, ...table } = measured(results, 'canary');
  const copies = [...new Set(rows.map((row) => row.copies!))];
  const epsilons = [...new Set(rows.map(({ epsilon }) => epsilon))];
  return {
    ...table,
    caption: 'Exposure of planted words in the final adapter, bits of 12',
    head: ['ε of each worker', ...copies.map((count) => (count === 0 ? 'not planted' : `${count} of 250 rows`))],
    rows: epsilons.map((epsilon) => [
      budget(epsilon),
      ...copies.map((count) => {
        const row = rows.find((each) => each.epsilon === epsilon && each.copies === count)!;
        return row.exposure!.toFixed(1);
      }),
    ]),
    notes: [],
  };
}

/** @param by what its lines differ in */
function costTable(results: Results, by: 'directions' | 'shard', example = TINY): Table {
  const name = `privacy-${by}${suffix(example)}`;
  const isIn = (row: PrivacyRow): boolean =>
    by === 'shard' ? row.directions === 256 : example !== TINY || row.shard === 250;
  const files = results.privacy.filter((file) => file.example === example && file.rows.some(isIn));
  const rows = files.flatMap((file) => file.rows.filter(isIn));
  const ascending = (a: number, b: number): number => a - b;
  const lines = [...new Set(rows.map((row) => row[by]))].sort(ascending);
  const epsilons = [...new Set(rows.map(({ epsilon }) => epsilon))].sort(
    (a, b) => (b || Number.POSITIVE_INFINITY) - (a || Number.POSITIVE_INFINITY) || 0,
  );
  const cell = (line: number, epsilon: number): string => {
    const row = rows.findLast((each) => each[by] === line && each.epsilon === epsilon);
    return row ? `${percentSpread(row.accuracy)}; ${short(row.loss.mean)}` : '–';
  };
  const noise = epsilons.flatMap((epsilon) => {
    const row = rows.find((each) => each.epsilon === epsilon);
    return epsilon && row ? [`${short(row.noise)} for ε ${epsilon}`] : [];
  });
  const seeds = Math.min(...files.map((file) => file.seeds));
  return {
    name,
    caption: `Dev accuracy and loss with budgets, ${example}`,
    head: [
      by === 'shard' ? 'rows of a worker' : 'K',
      ...epsilons.map((epsilon) => (epsilon ? `ε ${epsilon}` : 'no budget')),
    ],
    rows: lines.map((line) => [String(line), ...epsilons.map((epsilon) => cell(line, epsilon))]),
    notes: [
      `${seeds} seed${seeds === 1 ? '' : 's'}; ${rows[0]?.workers} workers, ${rows[0]?.rows} expected rows a minibatch, ${rows[0]?.rounds} rounds, clip ${files[0]?.clip}${by === 'directions' ? `; noise of the sum, in clips: ${noise.join(', ')}` : ''}.`,
    ],
    command: `onebyte bench privacy${by === 'shard' ? ' --shard 125' : ''}${onExample(example)} --json > bench/results/${name}.json`,
    ...(files[0] && { from: { ...files[0], command: files.map(({ command }) => command).join('; ') } }),
  };
}

/** Bytes seen → what is known. */
export function leakagePlot({ leakage }: Results): Plot | undefined {
  const rows = leakage.flatMap((file) => (file.example === TINY ? file.rows : []));
  const points = (of: (row: LeakageRow) => boolean): [number, number][] =>
    rows.filter(of).map(({ bytes = 0, found }) => [bytes, 100 * found]);
  const which = rows.filter(({ attack, estimator }) => attack === 'which' && estimator !== 'spsa');
  if (which.length === 0) return undefined;
  const sizes = [...new Set(which.map((row) => row.rows))];
  return {
    title: 'Bytes seen of a minibatch → what was found; last: the whole gradient',
    x: { label: 'bytes', logarithmic: true },
    y: { label: 'found, %' },
    lines: [
      ...sizes.map((size) => ({
        name: `which of 32: ${size} row${size === 1 ? '' : 's'}`,
        points: points((row) => which.includes(row) && row.rows === size),
      })),
      { name: 'two tokens: 1 row', points: points(({ attack }) => attack === 'text') },
    ],
  };
}
