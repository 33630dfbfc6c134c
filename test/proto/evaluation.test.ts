/** What is made of the counts of an evaluation. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { agree, countsProblem, evaluationOf, figuresOf, isBetter, lossText } from '../../proto/evaluation.ts';
import { Evaluation, type EvaluationCounts } from '../../proto/gen/onebyte.ts';

const counts = (change: Partial<EvaluationCounts> = {}): EvaluationCounts => ({
  ...{ round: 1, firstRow: 0, rows: 4, correct: 2, classified: 4, lossSum: 8, tokens: 16 },
  ...change,
});

describe('the loss of an evaluation', () => {
  it('is told per row and per token', () => {
    const { loss, lossPerToken } = figuresOf(evaluationOf(1, [counts(), counts({ lossSum: 4, tokens: 8 })]));
    assert.deepEqual([loss, lossPerToken], [1.5, 0.5]);
    assert.equal(lossText({ loss, lossPerToken }, 3), '1.500 a row, 0.500 a token');
    assert.equal(lossText(figuresOf(evaluationOf(1, [counts({ tokens: 4 })])), 3), '2.000');
  });

  it('is told per row alone where one member or an old log does not count tokens', () => {
    const evaluation = evaluationOf(1, [counts(), counts({ tokens: undefined })]);
    const old = Evaluation.decode(Evaluation.encode({ ...evaluation, tokens: undefined }).finish());
    for (const each of [evaluation, old]) {
      assert.deepEqual(
        [countsProblem(each), figuresOf(each).loss, figuresOf(each).lossPerToken],
        [undefined, 2, undefined],
      );
      assert.equal(lossText(figuresOf(each), 3), '2.000 a row');
    }
  });

  it('is of no number of tokens below that of the rows', () => {
    for (const tokens of [0, 3]) assert.match(countsProblem(counts({ tokens })) ?? '', /^[03] tokens of 4 rows/);
    assert.equal(countsProblem(counts({ tokens: 4 })), undefined);
  });

  it('is disputed where two members count other tokens, not where one counts none', () => {
    assert.deepEqual(
      [17, undefined, 16].map((tokens) => agree(counts(), counts({ tokens }))),
      [false, true, true],
    );
  });
});

describe('counts', () => {
  for (const [change, mayAgree] of [
    [{ correct: 3 }, true],
    [{ correct: 4 }, false],
    [{ lossSum: 8.4 }, true],
    [{ lossSum: 8.6 }, false],
    [{ lossSum: Number.POSITIVE_INFINITY }, false],
    [{ classified: 3 }, false],
  ] as const)
    it(`${mayAgree ? 'agree' : 'disagree'} where another member says ${JSON.stringify(change)}`, () => {
      const [one, other] = [counts(), counts(change)];
      assert.deepEqual([agree(one, other), agree(other, one)], [mayAgree, mayAgree]);
    });

  it('of more rows may differ by a twentieth of them, and agree where both have no finite loss', () => {
    const many = (correct: number) => counts({ rows: 1_000, classified: 1_000, correct });
    assert.deepEqual([agree(many(500), many(551)), agree(many(500), many(552))], [true, false]);
    assert(agree(counts({ lossSum: Number.NaN }), counts({ lossSum: Number.POSITIVE_INFINITY })));
  });

  for (const change of [{ rows: 0, classified: 0, correct: 0 }, { classified: 5 }, { classified: 2, correct: 3 }])
    it(`that nobody can have made are told: ${JSON.stringify(change)}`, () =>
      assert.match(countsProblem(counts({ ...change, tokens: undefined })) ?? '', /rows are right, of \d rows/));
});

describe('an evaluation', () => {
  const evaluation = (correct: number, lossSum: number) => evaluationOf(1, [counts({ correct, lossSum })]);
  it('is better with more right answers, then with less loss, and never without a finite one', () => {
    const best = evaluation(2, 8);
    const others = [evaluation(3, 9), evaluation(1, 1), evaluation(2, 7), evaluation(2, 8), evaluation(4, Infinity)];
    assert.deepEqual(
      others.map((other) => isBetter(other, best)),
      [true, false, true, false, false],
    );
    assert.deepEqual([isBetter(best, undefined), isBetter(best, evaluation(4, Infinity))], [true, true]);
  });
});
