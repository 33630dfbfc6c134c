/** Trainer and workers that share nothing but the network, as a user starts them by hand. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { addressOf, lastJson, type Running, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const model = join(tinyReviews, 'model');

/** A run file that names no data at all. */
const runFile = join(directory, 'run.yaml');
writeFileSync(runFile, `model: ${model}\nseed: 1\ndata: { maxLength: 128 }\nlearning: { decayRounds: 0 }\n`);
const rows = ['--model', model, '--data', join(tinyReviews, 'train.jsonl')];

describe('a trainer that may not see the data', () => {
  it('needs no data of its own: workers evaluate the dev split that they agree on', async () => {
    const flags = ['--rounds', '1', '--out', join(directory, 'blind'), '--json', '--set', 'trainer.devRows=500'];
    const trainer = startOnebyte(['trainer', runFile, ...flags]);
    const address = await addressOf(trainer);
    const other = startOnebyte(['worker', '--trainer', address, ...rows, '--dev', join(tinyReviews, 'test.jsonl')]);
    const refused = await other.finished;
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /test\.jsonl: 1000 rows, the trainer's dev split has 500/);
    const dev = ['--dev', join(tinyReviews, 'dev.jsonl')];
    const worker = startOnebyte(['worker', '--trainer', address, ...rows, ...dev, '--set', 'worker.kernels=reference']);
    const finished = await trainer.finished;
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal(lastJson(finished).rounds, 1);
    assert.match(finished.stderr, /round 1: dev loss \d/);
    const { code, stderr } = await worker.finished;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /kernels: reference/);
  });
});

describe('a worker whose trainer was started again as another run', () => {
  it('says so and waits, and goes on with its run when that is back', async (test) => {
    const start = (name: string, ...flags: string[]): Running => {
      const trainer = startOnebyte([
        'trainer',
        runFile,
        '--rounds',
        '100000',
        '--out',
        join(directory, name),
        ...flags,
      ]);
      test.after(() => trainer.process.kill('SIGKILL'));
      return trainer;
    };
    const first = start('first');
    const address = await addressOf(first);
    const worker = startOnebyte(['worker', '--trainer', address, '--name', 'w', ...rows]);
    test.after(() => worker.process.kill('SIGKILL'));
    await first.line(/round 10: /);
    first.process.kill('SIGKILL');
    await first.finished;
    const second = start('second', '--listen', address);
    await addressOf(second);
    await worker.line(/another run than this worker's is there: .*worker w holds \d+ records, this run has made 0/);
    second.process.kill('SIGKILL');
    await second.finished;
    const third = start('first', '--listen', address, '--resume');
    await third.line(/worker 0 \(w\) joined/);
    await third.line(/round \d+: \d+ gradients/);
    third.process.kill('SIGTERM');
    worker.process.kill('SIGTERM');
    assert.deepEqual([(await third.finished).code, (await worker.finished).code], [75, 75]);
  });
});
