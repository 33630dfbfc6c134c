/** Which settings of a worker go together with a run's estimator. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tangentsOf, WorkerSettings } from '../../settings/worker-settings.ts';

const settings = (keys: object): WorkerSettings => WorkerSettings.parse(keys);

describe('the precision of tangents', () => {
  it('is float32 unless said otherwise, and none where losses are measured', () => {
    assert.equal(tangentsOf({ estimator: 'forward' }, settings({})), 'float32');
    assert.equal(tangentsOf({ estimator: 'forward' }, settings({ tangentPrecision: 'int8' })), 'int8');
    assert.equal(tangentsOf({ estimator: 'spsa' }, settings({ quantize: 'int8' })), undefined);
  });

  for (const estimator of ['spsa', 'oneSided'] as const)
    it(`is refused by name with estimator ${estimator}`, () => {
      assert.throws(
        () => tangentsOf({ estimator }, settings({ tangentPrecision: 'float32' })),
        new RegExp(`worker.tangentPrecision float32: learning.estimator is ${estimator}, expected forward`),
      );
    });

  it('does not go with base weights in 8 bits', () => {
    assert.throws(
      () => tangentsOf({ estimator: 'forward' }, settings({ quantize: 'int8' })),
      /worker.quantize int8: not supported with learning.estimator forward/,
    );
  });
});
