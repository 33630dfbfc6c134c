/** The matrices of an adapter that are not trained. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { initialMatrices } from '../../kernels/run-replica.ts';
import { describeAdapter } from '../../proto/peft-describe.ts';
import { parseRunConfig } from '../../proto/run-config.ts';
import { frozenPart } from '../../worker/compute.ts';

it('are A of every module, of any size', () => {
  const settings = { baseModel: '', rank: 64, alpha: 16, targets: 'all-linear', useRslora: false, train: 'B' } as const;
  const modules = [
    { name: 'down', fanIn: 14336, fanOut: 5 },
    { name: 'up', fanIn: 3, fanOut: 2 },
  ];
  const adapter = describeAdapter(settings, modules, false);
  const config = parseRunConfig(
    JSON.stringify({
      seed: 1,
      learning: { decayRounds: 0 },
      data: { maxLength: 8, shards: 1 },
      adapter,
      baseModelSha256: '0'.repeat(64),
    }),
    'the test',
  );
  const all = initialMatrices(config, Buffer.alloc(0));
  const second = 64 * (14336 + 5);
  const expected = [...all.subarray(0, 64 * 14336), ...all.subarray(second, second + 64 * 3)];
  assert.deepEqual(frozenPart(config).frozenA, Float32Array.from(expected));
});
