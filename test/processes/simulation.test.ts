/** What a simulation gives its workers, one that is stopped before it began, and one whose workers do not end. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { deviceFlags, runSimulation } from '../../processes/simulation.ts';
import { EXIT, OperatingError } from '../../proto/operating-error.ts';
import { bin, runFile } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

// Children are started as this command.
process.argv[1] = bin;

const OPTIONS = {
  runFile,
  rounds: 1,
  decayRounds: undefined,
  workers: 1,
  threads: 1,
  worker: { provider: 'cpu' },
  dashboard: undefined,
  view: { onReport: () => {}, say: () => {} },
} as const;

it('starts no process, and ends as it was told to', async () => {
  const directory = temporaryDirectory();
  const drain = AbortSignal.abort(new OperatingError(EXIT.interrupted, 'stopped by SIGINT'));
  const simulation = runSimulation({ ...OPTIONS, directory, drain });
  await assert.rejects(simulation, { exitCode: EXIT.interrupted, message: 'stopped by SIGINT' });
  assert.deepEqual(readdirSync(directory), []);
});

/** A command whose trainer is done once a worker has come, and whose workers hear no SIGTERM. */
const DEAF_WORKERS = `
const { connect, createServer } = require('node:net');
const [command, , , address] = process.argv.slice(2);
if (command === 'trainer') {
  const done = { kind: 'trainerResult', result: { exitCode: 0 } };
  const server = createServer(() => process.send(done, () => process.exit()));
  server.listen(0, '127.0.0.1', () => process.send({ kind: 'listening', address: '127.0.0.1:' + server.address().port }));
} else {
  process.on('SIGTERM', () => {});
  connect(Number(address.split(':')[1]), '127.0.0.1').on('error', () => {});
  setInterval(() => {}, 1_000);
}
`;

it('ends with a run that is done also where a worker is stopped, or hangs', async (test) => {
  test.mock.timers.enable({ apis: ['setTimeout'] });
  const directory = temporaryDirectory();
  mkdirSync(join(directory, 'logs'));
  const command = join(directory, 'command.cjs');
  writeFileSync(command, DEAF_WORKERS);
  process.argv[1] = command;
  test.after(() => {
    process.argv[1] = bin;
  });
  let ended = false;
  const simulation = runSimulation({ ...OPTIONS, directory, drain: new AbortController().signal }).finally(() => {
    ended = true;
  });
  for (; !ended; await turn()) test.mock.timers.tick(15_000);
  assert.equal((await simulation).trainer.exitCode, EXIT.done);
});

it('ends with the code of a worker for which starting again is of no use, and says what that logged', async (test) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, 'logs'));
  writeFileSync(join(directory, 'logs', 'worker-0.log'), 'of an earlier start\n');
  const command = join(directory, 'command.cjs');
  writeFileSync(
    command,
    `if (process.argv[2] === 'trainer') {
      process.send({ kind: 'listening', address: '127.0.0.1:1' });
      setInterval(() => {}, 1_000);
    } else {
      process.stderr.write('{"level":"error","msg":"no such row"}\\n');
      process.exitCode = ${EXIT.usage};
      process.disconnect();
    }`,
  );
  process.argv[1] = command;
  test.after(() => {
    process.argv[1] = bin;
  });
  const said: string[] = [];
  const view = { onReport: () => {}, say: (text: string) => void said.push(text) };
  await assert.rejects(runSimulation({ ...OPTIONS, directory, view, drain: new AbortController().signal }), {
    exitCode: EXIT.usage,
    message: 'worker-0 ended with code 2:\nerror: no such row',
  });
  assert.deepEqual(said, ['trainer: 127.0.0.1:1'], 'it was started once');
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
