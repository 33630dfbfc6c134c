import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { benchReport } from '../../bench/report.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const machine = {
  cpu: 'Test CPU',
  cores: 2,
  memoryGiB: 8,
  node: 'v20',
  versions: { onebyte: '1.2.3' },
  loadBefore: 0.1,
};
const bandwidth = {
  benchmark: 'bandwidth',
  command: 'onebyte bench bandwidth --json',
  date: '2026-01-02',
  machine,
  elements: 49152,
  notes: ['how <links> were made'],
  averaging: [
    { rate: 9600, roundTripMs: 300, workers: 4, gradientBytes: 196608, grpcSeconds: 342.94, how: 'computed' },
  ],
  rows: [
    ...[false, true].map((tls) => ({
      ...{ name: 'a', rate: 1e6, roundTripMs: 50, workers: 4, directions: 64, maxStaleness: 0, tls },
      ...{ roundMs: 100, gradientsPerSecond: 2560, payload: 1 },
      socket: { up: tls ? 1.819 : 1.398, down: 1.21 },
      interface: { up: 4.05, down: 1.87 },
      join: { up: 348, down: 2371 },
    })),
    {
      ...{ name: 'far', rate: 9600, roundTripMs: 300, workers: 4, directions: 8, maxStaleness: 0, tls: false },
      ...{ roundMs: 592.6, expectedRoundMs: 579.6, gradientsPerSecond: 54, payload: 1, communication: 0.8823 },
      ...{ socket: { up: 4.3, down: 2.7 }, join: { up: 346, down: 2594 } },
    },
  ],
};

/** A results directory and a document with one marker. */
function setUp(name: string, table: string, results: readonly object[]) {
  const [folder, document] = [join(directory, name), join(directory, `${name}.md`)];
  mkdirSync(folder);
  results.forEach((result, i) => {
    writeFileSync(join(folder, `${i}.json`), JSON.stringify(result));
  });
  writeFileSync(document, `before\n<!-- table ${table} -->\nold\n<!-- end of table ${table} -->\nafter\n`);
  return {
    results: folder,
    documents: [document],
    plots: join(directory, `${name}-plots`),
    text: () => readFileSync(document, 'utf8'),
  };
}

test('a marked table is written from the results, with the machine, and nothing else of the document changes', () => {
  const { text, ...options } = setUp('bytes', 'bytes', [bandwidth]);
  assert.ok(benchReport(options).includes(options.documents[0]!));
  const lines = text().split('\n');
  assert.deepEqual([lines[0], lines.at(-2)], ['before', 'after']);
  assert.ok(
    lines.includes(
      '| spsa      | 64  | no  | 1.00    | 1.40      | 1.21        | 4.05         | 1.87           | 348 B   | 2.37 kB   |',
    ),
  );
  assert.ok(
    lines.includes(
      '| spsa      | 64  | yes | 1.00    | 1.82      | 1.21        | 4.05         | 1.87           | 348 B   | 2.37 kB   |',
    ),
  );
  assert.match(
    text(),
    /onebyte bench bandwidth --json, 2026-01-02; Test CPU, 2 cores, 8 GiB; .*onebyte 1\.2\.3; load average before: 0\.1/,
  );
  assert.doesNotMatch(text(), /\nold\n/);
});

test('a computed step is marked so, beside the round on the same line', () => {
  const { text, ...options } = setUp('rounds', 'rounds', [bandwidth]);
  benchReport(options);
  assert.match(
    text(),
    /\| 9\.6 kbit\/s, 300 ms +\| 4 +\| 0 +\| 593 ms \| 580 ms +\| 54 +\| 88 % +\| 343 s \(computed\) +\| –/,
  );
});

test('writing twice changes nothing, and the check passes only then', () => {
  const { text, ...options } = setUp('twice', 'rounds', [bandwidth]);
  assert.throws(
    () => benchReport({ ...options, check: true }),
    /twice\.md: is not what .* gives; run: onebyte bench report/,
  );
  const plot = join(options.plots, 'rounds.svg');
  assert.deepEqual(benchReport(options), [...options.documents, plot]);
  assert.deepEqual(benchReport(options), []);
  assert.deepEqual(benchReport({ ...options, check: true }), []);
  assert.ok(text().includes('](twice-plots/rounds.svg)'));
  writeFileSync(plot, '<svg/>');
  assert.throws(() => benchReport({ ...options, check: true }), /rounds\.svg: is not what/);
});

test('what is not measured is said to be so, with the command that measures it', () => {
  const { text, ...options } = setUp('missing', 'learning-codecs', [bandwidth]);
  benchReport(options);
  assert.match(text(), /not measured yet\. `onebyte bench learning --json > bench\/results\/learning\.json`/);
});

test('a marker without a table is an error that names the file', () => {
  const { text: _, ...options } = setUp('unknown', 'weather', [bandwidth]);
  assert.throws(() => benchReport(options), /unknown\.md: .*weather/);
});

test('a result file that is none is refused by name and key', () => {
  const { text: _, ...options } = setUp('broken', 'bytes', [{ ...bandwidth, command: 3 }]);
  assert.throws(() => benchReport(options), /0\.json: [\s\S]*command/);
});

test('the page holds tables, plots and results without a table of their own, and no markup from the files', () => {
  const other = {
    benchmark: 'kernels',
    command: 'onebyte bench kernels',
    date: '2026-01-02',
    rows: [{ backend: 'simd' }],
  };
  const { text: _, ...options } = setUp('page', 'bytes', [bandwidth, other]);
  const page = join(directory, 'page.html');
  benchReport({ ...options, page });
  const html = readFileSync(page, 'utf8');
  for (const part of ['<svg ', 'how &lt;links&gt; were made', '<th>backend</th>', 'Test CPU'])
    assert.ok(html.includes(part), part);
  assert.doesNotMatch(html, /<links>|src=|href=|NaN/);
});
