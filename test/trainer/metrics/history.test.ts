/** The reducer, and metrics.jsonl over a restart. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { initialNormaliser } from '../../../kernels/learning-rule.ts';
import { ABSTAIN } from '../../../proto/e4m3.ts';
import type { LogFrame } from '../../../proto/gen/onebyte.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { recordOf } from '../../../proto/record.ts';
import { roundDetail } from '../../../trainer/core/round-detail.ts';
import type { Report } from '../../../trainer/core/state.ts';
import { backfill } from '../../../trainer/metrics/backfill.ts';
import { emptyHistory, observe, pace, type RunHistory } from '../../../trainer/metrics/history.ts';
import type { Observation, RoundLine, WorkerRow } from '../../../trainer/metrics/line.ts';
import { metricsFile, readMetrics, readPastRun } from '../../../trainer/metrics/metrics-file.ts';
import { observationsOf } from '../../../trainer/metrics/reports.ts';
import { openMetrics } from '../../../trainer/metrics/run-metrics.ts';
import { MAX_ROWS, rowsOf } from '../../../trainer/metrics/series.ts';
import { tensorboardWriter } from '../../../trainer/metrics/tensorboard.ts';
import { virtualRule } from '../../simulation/virtual-replica.ts';
import { evaluationLine, observedRun, RUN, roundLine, START, testMetrics } from '../../support/observed-run.ts';
import { close, openSmallRun } from '../../support/open-small-run.ts';
import { protocolWorker } from '../../support/protocol-worker.ts';

import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { roundDone, testTrainer } from '../../support/test-trainer.ts';

const historyOf = (...seen: Observation[]): RunHistory => {
  const history = emptyHistory();
  for (const one of seen) observe(history, one);
  return history;
};

describe('the run history', () => {
  it('adds up bytes, and what float32 gradients of the adapter would have taken', () => {
    const { totals, round } = historyOf(START, roundLine(1), roundLine(2));
    assert.equal(round, 2);
    assert.deepEqual(
      { ...totals },
      {
        gradients: 32,
        contributions: 4,
        clipped: 2,
        late: 0,
        missed: 0,
        payloadBytes: 32,
        float32Bytes: 4 * 4 * RUN.adapterElements,
        wireUp: 200,
        wireDown: 400,
      },
    );
  });

  it('keeps the training loss of a row for each round that knows one', () => {
    const trainingLoss = { perRow: 2, perToken: 0.5 };
    const { series } = historyOf(START, roundLine(1), roundLine(2, { trainingLoss }));
    assert.deepEqual(series.columns.trainingLoss, [0, 2]);
  });

  it('goes on counting socket bytes where the trainer before left off', () => {
    const { totals } = historyOf(
      START,
      roundLine(5),
      { ...START, round: 5 },
      roundLine(6, { wire: { up: 7, down: 9 } }),
    );
    assert.deepEqual([totals.wireUp, totals.wireDown], [507, 1009]);
  });

  it('forgets rounds that a restarted trainer does not have', () => {
    const history = historyOf(START, roundLine(1), roundLine(2), roundLine(3), { ...START, round: 1 });
    assert.deepEqual(history.series.columns.round, [1]);
    assert.equal(history.recent.length, 1);
    assert.equal(history.round, 1);
  });

  it('shows of a trainer that starts again who had left, and no evaluation that its log does not have', () => {
    const joined = (worker: number): Observation => ({ kind: 'joined', at: 1, worker, name: 'w', resumed: false });
    const history = historyOf(
      START,
      joined(1),
      joined(2),
      { kind: 'left', at: 2, worker: 1, name: 'w', reason: 'done' },
      { kind: 'disconnected', at: 2, worker: 1, name: 'w' },
      ...[1, 2, 3].map((round) => roundLine(round)),
      evaluationLine(1),
      { ...evaluationLine(3), best: false },
      { ...START, round: 2 },
    );
    assert.deepEqual(
      Array.from(history.workers.values(), ({ state }) => state),
      ['left', 'disconnected'],
    );
    assert.deepEqual([history.evaluations, history.best], [[evaluationLine(1)], evaluationLine(1)]);
    assert.equal(history.events.filter(({ text }) => text.includes('started again')).length, 1);
  });

  it('keeps the last rounds, events and workers that left, and what all of them counted', () => {
    const history = historyOf(START);
    for (let i = 1; i <= 120; i++) {
      const of = { at: i, worker: i, name: `w${i}` };
      const seen: Observation[] = [
        { kind: 'joined', ...of, resumed: false },
        { kind: 'late', worker: i },
        { kind: 'answers', shares: new Map(), answeredMs: new Map(), missing: [i] },
        { kind: 'left', ...of, reason: 'done' },
        roundLine(i),
      ];
      for (const one of seen) observe(history, one);
    }
    observe(history, { kind: 'workers', at: 121, workers: [...history.workers.values()] });
    const { recent, events, workers, totals } = history;
    assert.deepEqual([recent.length, events.length, workers.size, totals.late], [40, 100, 50, 120]);
    assert.deepEqual([recent.at(-1)!.round, [...workers.keys()].at(-1), workers.get(120)!.missed], [120, 120, 1]);
  });

  it('ends with a word that is no error where the run is done or drained, and hears of no lost connection after it', () => {
    const levels = [EXIT.done, EXIT.drained, EXIT.diverged].map((exitCode) => {
      const history = historyOf(
        START,
        { kind: 'joined', at: 1, worker: 1, name: 'w', resumed: false },
        { kind: 'digest', worker: 1, round: 1, sha256: 'ab', agrees: false },
        ...[1, 2, 3].map((round) => roundLine(round)),
        { kind: 'end', at: 2, exitCode, text: 'over' },
        { kind: 'disconnected', at: 3, worker: 1, name: 'w' },
      );
      assert.deepEqual([history.workers.get(1)!.state, pace(history).secondsLeft], ['joining', undefined]);
      return history.events.at(-1)!.level;
    });
    assert.deepEqual(levels, ['information', 'information', 'error']);
  });

  it('follows a worker as it joins, answers, is late, loses its connection, is back and leaves', () => {
    const history = historyOf(START);
    const states: string[] = [];
    const see = (seen: Observation): void => {
      observe(history, seen);
      states.push(history.workers.get(1)!.state);
    };
    const answers = {
      shares: new Map([[1, { contributions: 2, gradients: 16, clipped: 3 }]]),
      answeredMs: new Map([[1, 12.34]]),
      missing: [],
    };
    see({ kind: 'joined', at: 1, worker: 1, name: 'w', resumed: false });
    see({ kind: 'answers', ...answers });
    see({ kind: 'late', worker: 1 });
    see({ kind: 'disconnected', at: 2, worker: 1, name: 'w' });
    see({ kind: 'joined', at: 3, worker: 1, name: 'w', resumed: true });
    see({ kind: 'digest', worker: 1, round: 16, sha256: 'ab', agrees: true });
    see({ kind: 'left', at: 4, worker: 1, name: 'w', reason: 'done' });
    assert.deepEqual(states, ['joining', 'active', 'active', 'disconnected', 'joining', 'active', 'left']);
    const { gradients, clipped, contributions, answerMs, late, digest } = history.workers.get(1)!;
    assert.deepEqual([gradients, clipped, contributions, answerMs, late], [16, 3, 2, 12.3, 1]);
    assert.equal(digest?.round, 16);
  });

  it('has of a round the median answer, the three slowest, and the first three that were missed', () => {
    const lineOf = (answers: readonly [number, number][], missing: number[]) => {
      const detail = { shares: new Map(), answeredMs: new Map(answers), missing, buckets: [] };
      const report = { kind: 'round', round: 1, ms: 60, detail } as unknown as Extract<Report, { kind: 'round' }>;
      const line = observationsOf(report, { up: 0, down: 0 }, 1).find(({ kind }) => kind === 'round') as RoundLine;
      return [line.answerMs, line.slowest, line.missing, line.missed];
    };
    const answers: [number, number][] = [
      [1, 5],
      [2, 50.04],
      [3, 1],
      [4, 20],
      [5, 30],
    ];
    const slowest = [
      [2, 50],
      [5, 30],
      [4, 20],
    ];
    assert.deepEqual(lineOf(answers, [6, 7, 8, 9]), [20, slowest, [6, 7, 8], 4]);
    assert.deepEqual(lineOf([[1, -3]], []), [0, [[1, 0]], [], 0], 'what came before the round was open took no time');
  });

  it('counts each of the contributions that a worker has in one record', () => {
    const gradientBytes = Buffer.of(1);
    const entries = [1, 0].map((staleness) => ({ staleness, worker: 3, firstDirection: 0, gradientBytes }));
    const record = recordOf(1, 0, entries);
    const { shares } = roundDetail(
      record,
      entries,
      { normaliser: initialNormaliser(virtualRule(1, 1)), update: undefined },
      new Map(),
      [],
      virtualRule(1, 1),
    );
    assert.deepEqual(shares, new Map([[3, { contributions: 2, gradients: 2, clipped: 0 }]]));
  });

  it('counts as gradients of a worker what it did not abstain from', () => {
    const entries = [{ staleness: 0, worker: 3, firstDirection: 0, gradientBytes: Buffer.of(1, ABSTAIN, ABSTAIN) }];
    const absorbed = { normaliser: initialNormaliser(virtualRule(1, 1)), update: undefined };
    const { shares } = roundDetail(recordOf(1, 0, entries), entries, absorbed, new Map(), [], virtualRule(1, 1));
    assert.equal(shares.get(3)!.gradients, 1);
  });

  it('tells the pace and the time that is left', () => {
    const loading = roundLine(1, { ms: 60_000 });
    const { roundsPerSecond, secondsLeft } = pace(
      historyOf(START, loading, ...[2, 3].map((round) => roundLine(round))),
    );
    assert.equal(roundsPerSecond, 25);
    assert.equal(secondsLeft, 997 / 25);
  });

  it('tells the pace of a trainer that goes on with a run a week later, and under a clock that was set', () => {
    const rounds = [1, 2, 3].map((round) => roundLine(round));
    const week = 7 * 86_400_000;
    const restarted: Observation = { ...START, at: week, round: 3 };
    const first = roundLine(4, { at: week, ms: 60_000 });
    assert.equal(pace(historyOf(START, ...rounds, restarted)).secondsLeft, undefined);
    assert.equal(pace(historyOf(START, ...rounds, restarted, first)).secondsLeft, undefined);
    assert.equal(pace(historyOf(START, ...rounds, restarted, first, roundLine(5))).roundsPerSecond, 25);
    assert.equal(pace(historyOf(START, ...rounds, roundLine(4, { at: week }), roundLine(5))).roundsPerSecond, 25);
  });

  it('keeps evaluations over the whole of a run of any length, and no more than rows', () => {
    const history = historyOf(START);
    for (let round = 1; round <= 40_000; round++) {
      observe(history, roundLine(round));
      observe(history, evaluationLine(round));
    }
    const { evaluations, best, series } = history;
    assert(evaluations.length <= MAX_ROWS, `${evaluations.length} evaluations`);
    assert.deepEqual([evaluations.at(-1), best], [evaluationLine(40_000), evaluationLine(40_000)]);
    const gaps = evaluations.map(({ round }, i) => round - (evaluations[i - 1]?.round ?? 0));
    assert.equal(Math.max(...gaps), series.stride);
  });

  it('holds a run of any length in a bounded number of rows, and loses no round of it', () => {
    const rounds = 5 * MAX_ROWS + 3;
    const history = historyOf(START, ...Array.from({ length: rounds }, (_, i) => roundLine(i + 1)));
    const { columns, stride } = history.series;
    assert(rowsOf(history.series) <= MAX_ROWS);
    assert.equal(stride, 8);
    assert.equal(columns.round.at(-1), rounds);
    assert.equal(
      columns.rounds.reduce((sum, n) => sum + n, 0),
      rounds,
    );
  });
});

describe('metrics.jsonl', () => {
  it('survives a resumed run, a torn line and its own loss', async (test) => {
    const directory = temporaryDirectory();
    const runUntil = async (until: number, resume: boolean): Promise<RunHistory> => {
      const metrics = await testMetrics(directory);
      metrics.begin((await readPastRun(directory)).history.round);
      const onReport: typeof metrics.onReport = (report, wire) => metrics.onReport(report, wire);
      const trainer = await testTrainer(test, { directory, resume, rounds: until, onReport });
      await protocolWorker(trainer.address, { name: 'w', config: trainer.config });
      const { exitCode, text } = await trainer.result;
      await metrics.end(exitCode, text);
      return metrics.history;
    };
    await runUntil(20, false);
    appendFileSync(metricsFile(directory), '{"kind":"rou');
    const { series } = await runUntil(30, true);
    const all = Array.from({ length: 30 }, (_, i) => i + 1);
    assert.deepEqual(series.columns.round, all);
    const read = await readPastRun(directory);
    assert.deepEqual(read.history.series.columns, series.columns);
    assert.deepEqual(read.missing, []);

    rmSync(metricsFile(directory));
    const { missing } = await readPastRun(directory);
    const rebuilt = historyOf(START, ...missing);
    for (const column of ['round', 'payloadBytes'] as const)
      assert.deepEqual(rebuilt.series.columns[column], series.columns[column], column);
  });

  it('notes an evaluation once, however many there are', async () => {
    const directory = temporaryDirectory();
    const open = await openSmallRun(directory);
    const counts = { rows: 1, correct: 0, classified: 1, lossSum: 1 };
    await open.log.append(
      Array.from({ length: 3000 }, (_, round) => ({ frame: { $case: 'evaluation', value: { round, ...counts } } })),
    );
    await close(open);
    const metrics = await testMetrics(directory);
    metrics.begin(3000);
    await metrics.end(0, 'done');
    assert.deepEqual((await readPastRun(directory)).missing, []);
  });

  it('does not grow with the square of the workers that leave at once', async () => {
    const directory = temporaryDirectory();
    const metrics = await openMetrics({ directory, run: RUN, now: () => 1e12, onError: assert.ifError });
    metrics.begin(0);
    const wire = { up: 0, down: 0 };
    const of = (worker: number) => ({ worker, name: `worker-${worker}` });
    for (let i = 0; i < 300; i++) metrics.onReport({ kind: 'joined', ...of(i), resumed: false }, wire);
    for (let i = 0; i < 300; i++) metrics.onReport({ kind: 'left', ...of(i), reason: 'silent' }, wire);
    await metrics.end(0, 'done');
    const notes = Array.from(readMetrics(metricsFile(directory)), ({ line }) => line).filter(
      (l) => l.kind === 'workers',
    );
    assert.equal(notes.length, 2);
    const { history } = await readPastRun(directory);
    assert([...history.workers.values()].every(({ state }) => state === 'left'));
  });

  it("that cannot be written is told once and let go, and so are TensorBoard's files", async () => {
    const directory = temporaryDirectory();
    const errors: string[] = [];
    const onError = (error: Error): void => void errors.push((error as NodeJS.ErrnoException).code ?? error.message);
    const metrics = await openMetrics({ directory, run: RUN, now: () => 1e12, onError });
    mkdirSync(metricsFile(directory));
    writeFileSync(join(directory, 'tensorboard'), '');
    metrics.add(tensorboardWriter(join(directory, 'tensorboard'), () => 1e12, onError));
    metrics.begin(0);
    for (let round = 1; round < 4; round++)
      metrics.onReport({ kind: 'evaluation', round, rows: 1, loss: 1, accuracy: 1, best: false }, { up: 0, down: 0 });
    await metrics.end(0, 'done');
    assert.deepEqual(errors.sort(), ['EEXIST', 'EISDIR']);
  });

  it('may end within a character', async () => {
    const directory = temporaryDirectory();
    const metrics = await testMetrics(directory);
    metrics.begin(0);
    metrics.onReport({ kind: 'waiting', reason: 'for worker-1, …' }, { up: 0, down: 0 });
    await metrics.end(0, 'done');
    const whole = readFileSync(metricsFile(directory));
    const { bytes } = await readPastRun(directory);
    writeFileSync(
      metricsFile(directory),
      Buffer.concat([whole, Buffer.from('{"kind":"waiting","reason":"…').subarray(0, -1)]),
    );
    assert.equal((await readPastRun(directory)).bytes, bytes);
  });

  for (const [what, damage] of [
    ['a byte that is no UTF-8', (whole: Buffer) => whole.fill(0xff, 20, 21)],
    ['a line of another shape', (whole: Buffer) => Buffer.concat([whole, Buffer.from('{"kind":"a"}\n')])],
    ['a line that is no JSON', (whole: Buffer) => Buffer.concat([Buffer.from('{\n'), whole])],
  ] as const)
    it(`with ${what} is set aside and made again from the round log`, async (test) => {
      const directory = temporaryDirectory();
      const trainer = await testTrainer(test, { directory, rounds: 12 });
      await protocolWorker(trainer.address, { name: 'w', config: trainer.config });
      await trainer.result;
      const note = async () => {
        const said: string[] = [];
        const metrics = await openMetrics({
          ...{ directory, run: RUN, now: () => 1e12, onError: assert.ifError },
          say: (text) => said.push(text),
        });
        metrics.begin(12);
        await metrics.end(0, 'done');
        return { said, columns: metrics.history.series.columns };
      };
      const file = metricsFile(directory);
      const { columns } = await note();
      const whole = readFileSync(file);
      const damaged = Buffer.from(damage(Buffer.from(whole)));
      writeFileSync(file, damaged);
      const again = await note();
      assert.match(again.said.join(), /metrics\.jsonl\b.*; it is set aside and made again from the round log/s);
      assert.deepEqual(again.columns, columns);
      assert.deepEqual(readFileSync(`${file}.damaged`), damaged);
      assert.deepEqual(readFileSync(file), whole);
      assert.deepEqual((await note()).said, []);
    });

  it('notes the rounds that a killed trainer had committed and not noted', async (test) => {
    const directory = temporaryDirectory();
    const trainer = await testTrainer(test, { directory, rounds: 12 });
    await protocolWorker(trainer.address, { name: 'w', config: trainer.config });
    await trainer.result;
    const metrics = await testMetrics(directory);
    metrics.begin(12);
    await metrics.end(0, 'done');
    const lines = readFileSync(metricsFile(directory), 'utf8').trimEnd().split('\n');
    assert.equal(lines.filter((line) => line.includes('"kind":"round"')).length, 12);
    assert(roundDone(12)(trainer.reports.findLast(({ kind }) => kind === 'round')!));
  });

  it('lost, leaves from the round log who took part and with how much, and no time that is known', async () => {
    const joined = (worker: number): LogFrame['frame'] => ({
      $case: 'joined',
      value: { worker, name: `machine-${worker}`, membership: worker },
    });
    const left = (worker: number): LogFrame['frame'] => ({ $case: 'left', value: { worker, reason: 'done' } });
    const entries = [1, 2].map((worker) => ({
      staleness: 0,
      worker,
      firstDirection: 0,
      gradientBytes: Buffer.of(1, 2),
    }));
    const record: LogFrame['frame'] = { $case: 'record', value: recordOf(0, 0, entries) };
    const frames = [joined(1), joined(2), left(1), record, left(2)].map((frame) => ({ frame }));
    const noted = { round: 0, evaluations: new Set<number>(), workers: new Map() };
    const history = historyOf(...(await backfill(frames, virtualRule(1, 1), 2, noted, 0)));
    assert.deepEqual(
      Array.from(history.workers.values(), ({ name, state, shard, gradients }) => [name, state, shard, gradients]),
      [
        ['machine-1', 'left', 1, 2],
        ['machine-2', 'disconnected', 0, 2],
      ],
    );
    assert.deepEqual([history.startedAt, history.updatedAt], [undefined, undefined]);
  });

  it('of a trainer that was killed gives each worker what it contributed since the last note of them', async (test) => {
    const directory = temporaryDirectory();
    const metrics = await observedRun(test, directory);
    const lines = readFileSync(metricsFile(directory), 'utf8').split('\n');
    const killed = lines.filter((line) => !/"kind":"(workers|end)"/.test(line));
    writeFileSync(metricsFile(directory), killed.join('\n'));
    const { history, missing } = await readPastRun(directory);
    assert.equal(history.workers.get(0)!.gradients, 0);
    for (const line of missing) observe(history, line);
    const countsOf = ({ gradients, contributions, clipped }: WorkerRow) => [gradients, contributions, clipped];
    assert.deepEqual(countsOf(history.workers.get(0)!), countsOf(metrics.history.workers.get(0)!));
    assert.equal(history.workers.get(0)!.gradients, history.totals.gradients);
  });
});
