/** `onebyte status` and `onebyte view`, as a user runs them. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type sendUnaryData } from '@grpc/grpc-js';
import { GetStatusResponse, TrainerService } from '../../proto/gen/onebyte.ts';
import { metricsFile } from '../../trainer/metrics/metrics-file.ts';
import { observedRun, testMetrics } from '../support/observed-run.ts';
import { lastJson, runOnebyte, startOnebyte } from '../support/onebyte.ts';
import { protocolWorker } from '../support/protocol-worker.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { testTrainer } from '../support/test-trainer.ts';

describe('onebyte status', () => {
  it('shows round, pace, bytes and workers of a running trainer, as a table and as JSON', async (test) => {
    const directory = temporaryDirectory();
    const metrics = await testMetrics(directory);
    metrics.begin(0);
    const trainer = await testTrainer(test, {
      directory,
      onReport: (report, wire) => metrics.onReport(report, wire),
      history: metrics.history,
    });
    const computesOn = 'cuda:1 in bfloat16';
    await protocolWorker(trainer.address, { name: 'machine-a', config: trainer.config, until: 20, computesOn });
    // Both at once: the lease of the worker, which has gone, lasts no longer than one of them may take.
    const [{ stdout, code, stderr }, json] = await Promise.all([
      runOnebyte('status', trainer.address),
      runOnebyte('status', trainer.address, '--json'),
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^round 2\d of 1000000, [\d.]+ rounds\/s/);
    assert.match(stdout, /0 +machine-a +\w+ +\d+ ms +\d+ +\d+ % +0 +0 +0 +cuda:1 in bfloat16 +- +[0-9a-f]{8} at 16/);
    const status = lastJson(json);
    assert.equal(status.members[0].digest.agrees, true);
    assert.equal(status.members[0].computesOn, computesOn);
    assert(status.wireUp > 0 && status.roundsPerSecond > 0);
    trainer.drain();
    await trainer.result;
    await metrics.end(75, 'drained');
  });

  it('--watch says where the run stood when its trainer is gone', async () => {
    const server = new Server();
    const { getStatus } = TrainerService;
    let looks = 0;
    server.addService(
      { getStatus },
      {
        getStatus: (_: unknown, reply: sendUnaryData<GetStatusResponse>) => {
          if (++looks > 1) server.forceShutdown();
          else reply(null, { ...GetStatusResponse.decode(Buffer.of()), round: 56, rounds: 60, state: 'training' });
        },
      },
    );
    const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
    const { code, stdout, stderr } = await runOnebyte('status', `127.0.0.1:${port}`, '--watch');
    assert.equal(code, 4);
    assert.match(stdout, /^round 56 of 60/);
    assert.match(stderr, /the trainer at 127\.0\.0\.1:\d+ answers no longer: .*after round 56 of 60/);
    assert.doesNotMatch(stderr, /is the address right/);
  });

  it('says that it cannot reach a trainer, with exit code 4', async () => {
    const { code, stderr } = await runOnebyte('status', '127.0.0.1:1');
    assert.equal(code, 4);
    assert.match(stderr, /trainer at 127\.0\.0\.1:1/);
  });
});

describe('onebyte view', () => {
  it('serves a finished run, with or without its metrics.jsonl', async (test) => {
    const directory = temporaryDirectory();
    await observedRun(test, directory);
    for (const name of ['with', 'without']) {
      if (name === 'without') rmSync(metricsFile(directory));
      const view = startOnebyte(['view', directory, '--listen', '127.0.0.1:0']);
      const url = (await view.line(/dashboard: (http:\S+)/))[1]!;
      const status = JSON.parse(await (await fetch(new URL('status', url))).text());
      assert.deepEqual([status.round, status.rounds, status.state], [12, name === 'with' ? 1000 : 12, 'ended'], name);
      view.process.kill('SIGINT');
      assert.equal((await view.finished).code, 0);
    }
  });

  it('refuses a directory without a run', async () => {
    const { code, stderr } = await runOnebyte('view', temporaryDirectory());
    assert.equal(code, 2);
    assert.match(stderr, /round\.log/);
  });
});
