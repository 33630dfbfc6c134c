/** Which settings of a worker go together with a run's estimator. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Learning } from '../../proto/run-config.ts';
import { derivativesOf, ownLearning, WorkerSettings } from '../../settings/worker-settings.ts';

type Estimator = Learning['estimator'];
const settings = (keys: object): WorkerSettings => WorkerSettings.parse(keys);

describe('the precision of tangents', () => {
  it('is float32 unless said otherwise, and none where losses are measured', () => {
    const tangents = (estimator: Estimator, keys: object) => derivativesOf({ estimator }, settings(keys)).tangents;
    assert.equal(tangents('forward', {}), 'float32');
    assert.equal(tangents('forward', { tangentPrecision: 'int8' }), 'int8');
    assert.equal(tangents('spsa', { quantize: 'int8' }), undefined);
  });

  for (const estimator of ['spsa', 'oneSided', 'backward'] as const)
    it(`is refused by name with estimator ${estimator}`, () => {
      assert.throws(
        () => derivativesOf({ estimator }, settings({ tangentPrecision: 'float32' })),
        new RegExp(`worker.tangentPrecision float32: the estimator is ${estimator}, expected forward`),
      );
    });
});

describe('base weights in 8 bits', () => {
  for (const estimator of ['forward', 'backward'] as const)
    it(`are refused by name with estimator ${estimator}`, () => {
      assert.throws(
        () => derivativesOf({ estimator }, settings({ quantize: 'int8' })),
        new RegExp(`worker.quantize int8: not supported with estimator ${estimator}; .*worker.estimator: spsa`),
      );
    });
});

describe('what a worker chooses for itself', () => {
  const learning = Learning.parse({ directions: 64, rows: 4 });

  it('takes the place of what the run says', () => {
    const own = ownLearning(learning, settings({ estimator: 'backward', directions: 16, rows: 2 }));
    assert.deepEqual(own, { ...learning, estimator: 'backward', directions: 16, rows: 2 });
    assert.deepEqual(ownLearning(learning, settings({})), learning);
  });

  it('is no more directions than a contribution of the run holds', () => {
    assert.throws(
      () => ownLearning(learning, settings({ directions: 65 })),
      /worker.directions 65: learning.directions is 64/,
    );
  });
});
