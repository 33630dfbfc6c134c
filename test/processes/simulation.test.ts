/** What a simulation gives its workers, and one that is stopped before it began. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { it } from 'node:test';
import { deviceFlags, runSimulation } from '../../processes/simulation.ts';
import { EXIT, OperatingError } from '../../proto/operating-error.ts';
import { bin, runFile } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

// Children are started as this command.
process.argv[1] = bin;

it('starts no process, and ends as it was told to', async () => {
  const directory = temporaryDirectory();
  const simulation = runSimulation({
    runFile,
    directory,
    rounds: 1,
    decayRounds: undefined,
    workers: 1,
    threads: 1,
    worker: { provider: 'cpu' },
    dashboard: undefined,
    view: { onReport: () => {}, say: () => {} },
    drain: AbortSignal.abort(new OperatingError(EXIT.interrupted, 'stopped by SIGINT')),
  });
  await assert.rejects(simulation, { exitCode: EXIT.interrupted, message: 'stopped by SIGINT' });
  assert.deepEqual(readdirSync(directory), []);
});

it('deals workers out over the GPUs where CUDA may run them, unless the run file names one', () => {
  const device = (...options: Parameters<typeof deviceFlags>) => deviceFlags(...options)[1];
  assert.equal(
    device(3, { provider: 'cuda' }, () => 2),
    'worker.device=1',
  );
  assert.equal(
    device(2, { provider: 'auto' }, () => 2),
    'worker.device=0',
  );
  assert.equal(
    device(1, { provider: 'cuda', device: 0 }, () => 2),
    undefined,
  );
  assert.equal(
    device(1, { provider: 'cuda' }, () => 1),
    undefined,
  );
  assert.equal(
    device(1, { provider: 'cpu' }, () => 2),
    undefined,
  );
  assert.equal(
    device(1, { provider: 'webgpu' }, () => 2),
    undefined,
  );
});
