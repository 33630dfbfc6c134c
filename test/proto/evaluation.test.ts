/** What is made of the counts of an evaluation. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { agree, countsProblem, evaluationOf, figuresOf, lossText } from '../../proto/evaluation.ts';
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
