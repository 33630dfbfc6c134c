/** When evaluations end a run, and when they warn. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_GRADIENTS_PER_RECORD } from '../../../proto/limits.ts';
import { TrainerSettings } from '../../../settings/trainer-settings.ts';
import { restoreTrainer } from '../../../trainer/core/restore.ts';
import type { Effect, Report, TrainerRules } from '../../../trainer/core/state.ts';
import { step } from '../../../trainer/core/step.ts';
import { virtualRule } from '../../simulation/virtual-replica.ts';

const ROWS = 100;

/** A trainer with one worker that evaluates every round; `evaluated` commits a round and answers its evaluation. */
function begin(settings: object) {
  const rules: TrainerRules = {
    settings: TrainerSettings.parse({ evaluateEvery: 1, checkpointEvery: 0, ...settings }),
    learning: virtualRule(1, 0),
    directions: 1,
    gradientsPerRecord: MAX_GRADIENTS_PER_RECORD,
    rounds: 50,
    devRows: ROWS,
    runConfigSha256: Buffer.alloc(32),
    runSecret: Buffer.alloc(32, 3),
    adapterElements: 16,
    continuesAdapter: false,
  };
  const state = restoreTrainer(rules, [], undefined, 0);
  const [stream, atMs] = [1, 0];
  const hello = { name: 'w', resumeSecret: Buffer.alloc(0), runConfigSha256: Buffer.alloc(32) };
  step(state, { kind: 'hello', atMs, stream, origin: { connection: '1', address: '1' }, hello });
  step(state, { kind: 'digest', atMs, stream, digest: { round: 0, sha256: Buffer.alloc(32) } });
  const answer = (loss: number, accuracy: number, round = state.normaliser.round): Effect[] => {
    const sums = { correct: ROWS * accuracy, classified: ROWS, lossSum: ROWS * loss };
    return step(state, { kind: 'evaluation', atMs, stream, counts: { round, firstRow: 0, rows: ROWS, ...sums } });
  };
  const commit = (): void => {
    const contribution = { measuredRound: state.normaliser.round, firstDirection: 0, gradientBytes: Buffer.of(0x40) };
    step(state, { kind: 'contribution', atMs, stream, contribution });
  };
  return {
    state,
    answer,
    commit,
    evaluated: (loss: number, accuracy = 0.5): Effect[] => {
      commit();
      return answer(loss, accuracy);
    },
  };
}

const endings = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === 'finish' ? [`${effect.exitCode} ${effect.text}`] : []));
const reports = (effects: readonly Effect[], kind: Report['kind']): Report[] =>
  effects.flatMap((effect) => (effect.kind === 'report' && effect.report.kind === kind ? [effect.report] : []));
const evaluatedRounds = (effects: readonly Effect[]): number[] =>
  effects.flatMap((effect) =>
    effect.kind === 'report' && effect.report.kind === 'evaluation' ? [effect.report.round] : [],
  );

describe('an evaluation', () => {
  it('that is answered after the next is due counts, and the one after that begins', () => {
    const run = begin({});
    run.commit();
    run.commit();
    assert.deepEqual(evaluatedRounds(run.answer(2, 0.5, 0)), [0]);
    assert.deepEqual(evaluatedRounds(run.evaluated(1)), [3]);
  });
});

describe('a run', () => {
  it('ends when its dev loss is as low as it was to be, and says why', () => {
    const run = begin({ stopAt: { loss: 1 } });
    assert.deepEqual(endings(run.answer(2, 0.5)), []);
    assert.deepEqual(endings(run.evaluated(1.01)), []);
    const last = run.evaluated(1);
    assert.deepEqual(endings(last), ['0 2 rounds done: dev loss 1.0000 is at most trainer.stopAt.loss 1']);
    assert(
      last.some((effect) => effect.kind === 'checkpoint' && !effect.best),
      'its last adapter is kept too',
    );
  });

  it('ends when its accuracy is as high as it was to be', () => {
    const run = begin({ stopAt: { accuracy: 0.9 } });
    run.answer(2, 0.5);
    assert.deepEqual(endings(run.evaluated(3, 0.89)), []);
    assert.match(endings(run.evaluated(3, 0.9))[0]!, /^0 2 rounds done: dev accuracy 0\.9000/);
  });

  it('ends when so many evaluations in a row were no better', () => {
    const run = begin({ patience: 2 });
    run.answer(2, 0.5);
    for (const loss of [2.1, 1.9, 1.95]) assert.deepEqual(endings(run.evaluated(loss)), []);
    assert.match(endings(run.evaluated(1.95))[0]!, /4 rounds done: no better evaluation since 2 of them/);
  });

  it('goes on to its last round where none of this was asked for', () => {
    const run = begin({});
    run.answer(2, 0.5);
    for (let i = 0; i < 8; i++) assert.deepEqual(endings(run.evaluated(0.001, 1)), []);
  });

  it('warns once when its dev loss was above the start three times in a row', () => {
    const run = begin({});
    run.answer(2, 0.5);
    const warned = [2.1, 2.2, 2, 2.1, Number.NaN, 2.3, 2.4].map((loss) => reports(run.evaluated(loss), 'worse').length);
    assert.deepEqual(warned, [0, 0, 0, 0, 0, 1, 0]);
  });
});
