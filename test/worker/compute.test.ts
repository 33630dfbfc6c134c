/** The numbers of a worker: which rows it measures. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { prepareRun } from '../../processes/prepare-run.ts';
import { readRunFile, settled } from '../../settings/run-file.ts';
import { Compute } from '../../worker/compute.ts';
import { tinyReviews } from '../support/onebyte.ts';

it('workers that share a shard measure rows of their own in a round, and the same ones again when they are asked again', async () => {
  const run = readRunFile(join(tinyReviews, 'run.yaml'), ['data.shards=2', 'learning.estimator=backward']);
  const { config } = await prepareRun(settled(run, undefined));
  const files = { modelDirectory: run.model, trainFiles: [run.data.train!].flat(), devFile: undefined };
  const compute = await Compute.create({ config, ...files, ownData: false, settings: run.worker, threads: 1 });
  try {
    const lossOf = async (worker: number): Promise<number> => {
      await compute.readData(worker, 0, 1);
      return (await compute.measure(0)).losses!.lossSum;
    };
    const [first, third, again] = [await lossOf(0), await lossOf(2), await lossOf(0)];
    assert.notEqual(third, first);
    assert.equal(again, first);
  } finally {
    await compute.close();
  }
});
