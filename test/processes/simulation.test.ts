/** A simulation that is stopped before it began. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { it } from 'node:test';
import { runSimulation } from '../../processes/simulation.ts';
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
    device: undefined,
    dashboard: undefined,
    view: { onReport: () => {}, say: () => {} },
    drain: AbortSignal.abort(new OperatingError(EXIT.interrupted, 'stopped by SIGINT')),
  });
  await assert.rejects(simulation, { exitCode: EXIT.interrupted, message: 'stopped by SIGINT' });
  assert.deepEqual(readdirSync(directory), []);
});
