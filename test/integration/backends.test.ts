/** One real run whose workers compute in different ways: whatever makes the numbers, all replicas hold the same bytes. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { lastJson, runOnebyte, tinyReviews } from '../support/onebyte.ts';
import { runTogether } from '../support/run-together.ts';
import { SWIFTSHADER, useSoftwareAdapter } from '../support/software-adapter.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Passes of ONNX Runtime, and 200 rounds, take minutes on the software adapter: they are for the nightly run. */
const NIGHTLY = process.env.ONEBYTE_NIGHTLY !== undefined;
const ROUNDS = NIGHTLY ? 200 : 8;

/** The settings of each worker. */
const WORKERS = [
  ['worker.kernels=reference'],
  ['worker.kernels=simd'],
  ['worker.kernels=gpu-webgpu'],
  ...(NIGHTLY ? [['worker.provider=webgpu']] : []),
];

const skip = existsSync(SWIFTSHADER)
  ? false
  : 'no software WebGPU adapter: apt-get install chromium libvulkan1 brings one';

it(`${WORKERS.join(', ')} hold the same replica on tiny-reviews`, {
  skip,
  timeout: NIGHTLY ? 3_600_000 : 900_000,
}, async () => {
  useSoftwareAdapter();
  // The software adapter is slow: all wait for it, but it has little to do.
  const settings = ['trainer.evaluateEvery=0', 'learning.rows=2', `rounds=${ROUNDS}`];
  const run = await runTogether(join(temporaryDirectory(), 'run'), settings, WORKERS);
  assert.equal(run.gradients, ROUNDS * WORKERS.length * 8);
  if (!NIGHTLY) return;
  const data = join(tinyReviews, 'test.jsonl');
  const model = join(tinyReviews, 'model');
  const after = lastJson(
    await runOnebyte('eval', '--model', model, '--adapter', run.checkpointDir, '--data', data, '--json'),
  );
  assert(after.accuracy >= 0.97, `accuracy ${after.accuracy} after ${run.gradients} gradients`);
});
