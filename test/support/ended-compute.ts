/** A process that ends its compute thread while that measures, and then itself with code 3: what a refused worker does. */
import { strict as assert } from 'node:assert';
import { setTimeout } from 'node:timers/promises';
import { prepareRun } from '../../processes/prepare-run.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { readRunFile, settled } from '../../settings/run-file.ts';
import { startCompute } from '../../worker/remote-compute.ts';
import { runFile } from './onebyte.ts';

const run = readRunFile(runFile, ['learning.rows=64']);
const { config } = await prepareRun(settled(run, undefined));
const compute = startCompute();
const files = { modelDirectory: run.model, trainFiles: [run.data.train!].flat(), devFile: undefined };
await compute.create({ ...files, config, ownData: false, settings: run.worker, threads: 1 });
await compute.readData(0, 0, 1);
const { directions } = config.learning;
await compute.measure(0);
const begun = performance.now();
await compute.measure(directions);
const tookMs = performance.now() - begun;
const measured = compute
  .measure(2 * directions)
  .catch(({ message }: Error) => assert.match(message, /the compute thread ended/));
// In the midst of what is nearly all one pass. At another time nothing is tested, and nothing fails.
await setTimeout(tookMs / 2);
await compute.terminate();
await measured;
process.exitCode = EXIT.refused;
