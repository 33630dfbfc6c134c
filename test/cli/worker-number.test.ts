import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workerNumber } from '../../cli/worker-number.ts';

const env = { JOB_COMPLETION_INDEX: '3', RANK: '4', PET_NODE_RANK: '5' };

test('the flag wins over the environment, also when it is 0', () => {
  assert.deepEqual(workerNumber(0, env), { number: 0, source: '--number' });
});

test("a Job's index comes before torchrun's rank, and that before Kubeflow's", () => {
  assert.deepEqual(workerNumber(undefined, env), { number: 3, source: 'JOB_COMPLETION_INDEX' });
  assert.deepEqual(workerNumber(undefined, { ...env, JOB_COMPLETION_INDEX: '' }), { number: 4, source: 'RANK' });
  assert.deepEqual(workerNumber(undefined, { PET_NODE_RANK: '0' }), { number: 0, source: 'PET_NODE_RANK' });
});

test('a flag beyond the last number is refused with the range', () => {
  assert.equal(workerNumber(65_535, {})?.number, 65_535);
  assert.throws(() => workerNumber(65_536, {}), {
    exitCode: 2,
    message: '--number="65536": expected a worker number, 0…65535',
  });
});

test('without flag and variables the trainer gives the number', () => {
  assert.equal(workerNumber(undefined, {}), undefined);
});

for (const text of ['-1', '1.5', 'two', '65536', '0x10'])
  test(`RANK=${text} is refused`, () => {
    assert.throws(() => workerNumber(undefined, { RANK: text }), /RANK=.*expected a worker number/);
  });
