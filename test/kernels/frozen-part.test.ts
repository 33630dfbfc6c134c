/** The matrices of an adapter that are not trained. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeAdapter } from '../../formats/peft-describe.ts';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { initialAdapter } from '../../kernels/initial-adapter.ts';
import { frozenPart } from '../../kernels/run-replica.ts';

it('are A of every module, of any size', () => {
  const settings = { rank: 64, alpha: 16, targets: 'all-linear', useRslora: false, train: 'B' } as const;
  const linears = [
    { name: 'down', fanIn: 14336, fanOut: 5 },
    { name: 'up', fanIn: 3, fanOut: 2 },
  ];
  const { modules } = describeAdapter(settings, linears, false);
  const all = initialAdapter(1, modules);
  const second = 64 * (14336 + 5);
  const expected = [...all.subarray(0, 64 * 14336), ...all.subarray(second, second + 64 * 3)];
  assert.deepEqual(frozenPart(adapterLayout(modules, 'B'), all), Float32Array.from(expected));
});

it('are none where all are trained', () => {
  assert.equal(frozenPart(adapterLayout([], 'both'), new Float32Array()), undefined);
});
