/** What happens to a run directory beside its trainer: another trainer in another container, and its removal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { settingFlags } from '../../../cli/command.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { lastJson, root, runFile, runOnebyte, startOnebyte } from '../../support/onebyte.ts';
import { inPidNamespace, whyNoPidNamespaces } from '../../support/pid-namespace.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const directory = temporaryDirectory();
const settings = settingFlags(['data.test=', 'data.dev=', 'trainer.checkpointEvery=0']);
const simulate = (out: string, rounds: number): string[] => [
  ...['simulate', runFile, '--out', out, '--json', '--workers', '1', '--no-dashboard'],
  ...settings,
  ...['--rounds', String(rounds)],
];

describe('a run directory that two containers share', { skip: whyNoPidNamespaces() }, () => {
  it('is written by the trainer that has it, and the other one ends with code 5', async () => {
    const out = join(directory, 'shared');
    const first = startOnebyte(simulate(out, 1_000));
    await first.line(/worker 0 joined/);
    const trainer = ['trainer', runFile, '--resume', '--out', out, '--listen', '127.0.0.1:0'];
    const [command, ...args] = inPidNamespace(
      process.execPath,
      'bin/onebyte.js',
      ...trainer,
      ...settings,
      '--rounds',
      '1000',
    );
    const second = spawn(command!, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
    const stderr = text(second.stderr);
    const code = await new Promise((resolve) => second.on('close', resolve));
    assert.equal(code, EXIT.durableStore, await stderr);
    assert.match(await stderr, /lock .*trainer\.lock: process \d+ on \S+ writes this run/);
    first.process.kill('SIGTERM');
    const stopped = await first.finished;
    assert.equal(stopped.code, EXIT.drained, stopped.stderr);
    const { round } = lastJson(await runOnebyte('replay', '--log', join(out, 'round.log'), '--json'));
    assert.equal(round, lastJson(stopped).rounds);
  });
});

describe('a run directory that is gone', () => {
  for (const [how, take] of [
    ['moved away', (out: string) => renameSync(out, `${out}-moved`)],
    [
      'removed',
      (out: string) => {
        renameSync(out, `${out}-trash`); // the run can no longer put a file where the removal has just been
        rmSync(`${out}-trash`, { recursive: true });
      },
    ],
  ] as const)
    it(`ends the run with code 5 when it was ${how}`, { timeout: 120_000 }, async (t) => {
      const out = join(directory, how.replace(' ', '-'));
      const run = startOnebyte(simulate(out, 1_000_000));
      t.after(() => run.process.kill('SIGKILL'));
      await run.line(/worker 0 joined/);
      take(out);
      const { code, stderr } = await run.finished;
      assert.equal(code, EXIT.durableStore, stderr);
      assert.doesNotMatch(stderr, /\n {4}at /, 'no stack');
    });
});
