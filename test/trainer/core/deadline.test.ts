/** When a round with a quorum stops waiting, told by how soon its members answer. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ArrivalTimes, usualDeadlineMs, withArrival } from '../../../trainer/core/deadline.ts';

const after = (...times: readonly number[]): ArrivalTimes => times.reduce(withArrival, []);

describe('the usual deadline', () => {
  for (const [name, members, deadlineMs] of [
    ['is not known before four answers', [after(10), after(10, 10)], undefined],
    ['is the median and four times the median deviation from it', [after(10), after(14), after(20), after(100)], 30],
    ['takes the lower of two in the middle', [after(10, 20), after(30, 40)], 10],
    ['counts each member once, however often it answered', [after(10), after(10), after(9, 99, 99, 99, 99)], 10],
    ['counts nobody who has not answered', [after(10), after(10), after(12), after(13), after(), after()], 10],
    ['looks back on eight answers of a member', [after(...Array(9).fill(90), ...Array(8).fill(10))], 10],
  ] as const)
    it(name, () => assert.equal(usualDeadlineMs(members), deadlineMs));
});
