/** What a person sees of a simulation: on a terminal, and in a file. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LiveView, LONGEST_SILENCE_MS } from '../../cli/live-view.ts';
import type { BriefReport } from '../../trainer/report-kinds.ts';

const wire = { up: 123_456, down: 234_567 };
const round = (n: number, members = 4): BriefReport => ({
  kind: 'round',
  round: n,
  contributions: members,
  gradients: 8 * members,
  clipped: 0,
  members,
  ms: 10,
  trainingLoss: { perRow: 0.91, perToken: 0.455 },
  deadlineMs: 200,
  idleFraction: 0,
});
const evaluation: BriefReport = {
  kind: 'evaluation',
  round: 10,
  rows: 500,
  loss: 0.884,
  lossPerToken: 0.442,
  accuracy: 0.5,
  best: true,
};

/** A view on a stream; `clock.ms` is its time. */
function begin(terminal: { isTTY: boolean; columns?: number }, rounds = 1000) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const stream = { ...terminal, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream;
  return { written, clock, view: new LiveView(rounds, stream, () => clock.ms) };
}

describe('the line on a terminal', () => {
  for (const columns of [30, 60, 80, 200])
    it(`fits ${columns} columns and keeps the time that is left`, () => {
      const { written, clock, view } = begin({ isTTY: true, columns });
      view.onReport(round(1), wire);
      view.onReport(evaluation, wire);
      clock.ms = 1000;
      view.onReport(round(4), wire);
      const line = written.at(-1)!.replace('\r\x1b[2K', '');
      assert(line.length < columns, `${line.length} letters: ${line}`);
      assert.match(line, /^round 4\/1000, 5 min 32 s left/);
    });

  it('says the training loss and the dev loss of a row where 80 columns hold both', () => {
    const { written, view } = begin({ isTTY: true, columns: 80 });
    view.onReport(evaluation, wire);
    view.onReport(round(11), wire);
    assert.match(written.at(-1)!, /round 11\/1000, training loss 0\.910, dev loss 0\.884, accuracy 50\.0 %, 4 workers/);
  });

  it('leaves every evaluation above it, in a line that stays', () => {
    const { written, view } = begin({ isTTY: true, columns: 80 });
    view.onReport(round(10), wire);
    view.onReport(evaluation, wire);
    view.onReport(round(11), wire);
    assert(
      written.includes('round 10: dev loss 0.8840 a row, 0.4420 a token, accuracy 50.0 % (best)\n'),
      written.join('|'),
    );
  });
});

describe('lines in a file', () => {
  it('come at least every 15 seconds, also before the first round', () => {
    const { written, clock, view } = begin({ isTTY: false });
    clock.ms = LONGEST_SILENCE_MS - 1;
    view.tick();
    assert.deepEqual(written, []);
    clock.ms++;
    view.tick();
    assert.deepEqual(written, ['waiting for the first of 1000 rounds\n']);
    for (let n = 1; n <= 3; n++) view.onReport(round(n), wire);
    view.tick();
    assert.equal(written.length, 1, 'rounds alone say nothing');
    clock.ms += LONGEST_SILENCE_MS;
    view.tick();
    assert.match(written[1]!, /^round 3\/1000, .* 4 workers, /);
  });

  it('say every loss of a row and of a token', () => {
    const { written, view } = begin({ isTTY: false });
    view.onReport(round(10), wire);
    view.onReport(evaluation, wire);
    assert.match(
      written[0]!,
      /training loss 0\.910 a row, 0\.455 a token, dev loss 0\.884 a row, 0\.442 a token, accuracy/,
    );
  });

  it('count one worker and one round', () => {
    const { written, clock, view } = begin({ isTTY: false }, 1);
    clock.ms = LONGEST_SILENCE_MS;
    view.tick();
    view.onReport(round(1, 1), wire);
    view.onReport({ ...evaluation, round: 1 }, wire);
    assert.equal(written[0], 'waiting for the first of 1 round\n');
    assert.match(written[1]!, /, 1 worker, 8 B of gradients, /);
  });
});
