/** The learning rate of a record. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rateOf } from '../../kernels/learning-rule.ts';

const rule = { learningRate: 1, decayRounds: 100 };

describe('the learning rate', () => {
  it('falls linearly to a sixteenth and stays there', () => {
    assert.deepEqual(
      [0, 50, 93, 94, 200].map((round) => rateOf(rule, round)),
      [1, 0.5, 0.07, 1 / 16, 1 / 16],
    );
  });
  it('is constant without decay', () => assert.equal(rateOf({ ...rule, decayRounds: 0 }, 1e6), 1));
  it('follows a change from its record on, and what was before stays as it was', () => {
    const changed = { ...rule, decayChanges: [[100, 400] as const, [200, 0] as const] };
    assert.deepEqual(
      [50, 99, 100, 199, 200, 500].map((round) => rateOf(changed, round)),
      [0.5, 1 / 16, 0.75, 201 / 400, 1, 1],
    );
  });
});
