/** What a command says while its model is downloaded. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { downloadReport } from '../../cli/find-model.ts';

function linesOf(progress: readonly [atMs: number, bytes: number][]): string[] {
  const lines: string[] = [];
  let nowMs = 0;
  const report = downloadReport(
    'org/tiny',
    (text) => lines.push(text),
    () => nowMs,
  );
  for (const [atMs, bytes] of progress) {
    nowMs = atMs;
    report({ file: 'model.safetensors', bytes, totalBytes: 2_000_000 });
  }
  return lines;
}

it('a download is reported every two seconds, and at its end', () => {
  assert.deepEqual(
    linesOf([
      [0, 0],
      [1999, 1000],
      [2000, 500_000],
      [3000, 600_000],
      [3100, 2_000_000],
      [3200, 2_000_000],
    ]),
    [
      'model org/tiny: 500.0 kB of 2.0 MB are here (model.safetensors)',
      'model org/tiny: 2.0 MB of 2.0 MB are here (model.safetensors)',
    ],
  );
});

it('a model that is in the cache is not', () => {
  assert.deepEqual(
    linesOf([
      [0, 10],
      [5, 2_000_000],
    ]),
    [],
  );
});
