/** A trainer that nobody should follow: what its run config asks of a worker is refused within the worker's memory. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { prepareRun } from '../../../processes/prepare-run.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { parseRunConfig, type RunConfig } from '../../../proto/run-config.ts';
import { readRunFile, settled } from '../../../settings/run-file.ts';
import { Compute } from '../../../worker/compute.ts';
import { runFile } from '../../support/onebyte.ts';

const run = readRunFile(runFile);
const { config } = await prepareRun(settled(run, undefined));
type Modules = RunConfig['adapter']['modules'];
const [first] = config.adapter.modules as [Modules[number]];
const asked = (modules: Modules): RunConfig => ({ ...config, adapter: { ...config.adapter, modules } });
const files = { modelDirectory: run.model, trainFiles: [run.data.train!].flat(), devFile: undefined };

for (const [what, modules] of [
  ['30,000 layers that the model lacks', Array.from({ length: 30_000 }, (_, i) => ({ ...first, name: `m.${i}` }))],
  ['30,000 times the same layer', Array.from({ length: 30_000 }, () => first)],
  ['layers in another order', [...config.adapter.modules].reverse()],
  ['a layer of another width', [{ ...first, fanIn: 2 ** 24 }]],
] as const)
  it(`a worker refuses a run config with ${what}, exit code 3`, async () => {
    const before = process.memoryUsage().rss;
    const options = { config: asked([...modules]), ...files, ownData: false, settings: run.worker, threads: 1 };
    await assert.rejects(Compute.create(options), { exitCode: EXIT.refused, message: /no such layer/ });
    assert(process.memoryUsage().rss - before < 2 ** 28, 'nothing of what was asked for is allocated');
  });

it('a run config with more elements than an adapter may have is refused as it is read, exit code 2', () => {
  const json = JSON.stringify(asked([{ ...first, rank: 2 ** 20, fanIn: 2 ** 10, fanOut: 2 ** 10 - 1 }]));
  assert.throws(() => parseRunConfig(json, 'a trainer'), {
    exitCode: EXIT.usage,
    message: /an adapter has at most 268435456 elements/,
  });
});
