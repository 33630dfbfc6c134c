import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roundCost } from '../../bench/report/scale.ts';

const row = (workers: number) => ({
  ...{ workers, p50Ms: 0, p99Ms: 0, maxMs: 0, workersCpuMs: 0, bytesUp: 28 },
  ...{ trainerCpuMs: 1 + workers / 10, bytesDown: 25 + 14 * workers },
});
const measured = [row(1000), row(10)];

test('what was measured comes out again, and a line goes through between', () => {
  const { recordBytes, trainerCpuMs, trainerSends, gradients } = roundCost(measured, 8, 100);
  assert.deepEqual([recordBytes, trainerCpuMs, trainerSends, gradients], [1425, 11, 142_500, 800]);
});

test('a full record grows no further, its copies do', () => {
  const [full, more] = [1024, 100_000].map((workers) => roundCost(measured, 8, workers)) as [
    ReturnType<typeof roundCost>,
    ReturnType<typeof roundCost>,
  ];
  assert.deepEqual([full.gradients, more.gradients], [8192, 8192]);
  assert.equal(more.recordBytes, full.recordBytes);
  assert.equal(more.trainerSends, 100_000 * full.recordBytes);
});

test('layers of relays are those that the workers need', () => {
  const layers = [1, 256, 257, 65_536, 65_537].map((workers) => roundCost(measured, 8, workers).relays.layers);
  assert.deepEqual(layers, [0, 0, 1, 1, 2]);
});
