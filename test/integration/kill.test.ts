/** kill -9 of anything, at named points and at random: the run goes on, loses nothing, and its log gives its digest. */

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import seedrandom from 'seedrandom';
import { settingFlags } from '../../cli/command.ts';
import type { Record } from '../../proto/gen/onebyte.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { entriesOf } from '../../proto/record.ts';
import { readRoundLog, recordsOf } from '../../trainer/store/round-log.ts';
import type { CrashPlan } from '../support/crash-points.ts';
import { firstRows } from '../support/first-rows.ts';
import {
  childrenOf,
  crashing,
  type Finished,
  lastJson,
  runFile,
  runOnebyte,
  startOnebyte,
} from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
// With it simulate says where the run is.
const dev = firstRows('dev', 8);

async function recordsIn(log: string): Promise<Record[]> {
  const { frames, tornBytes } = await readRoundLog(log);
  assert.equal(tornBytes, 0);
  return recordsOf(frames);
}

/** What must hold at the end of a run, whatever was killed. */
async function assertWhole(finished: Finished, rounds: number) {
  assert.equal(finished.code, 0, finished.stderr);
  const result = lastJson(finished);
  assert.equal(result.rounds, rounds);
  for (const digest of result.replicaDigests) assert.equal(digest, result.replicaDigest, finished.stderr);
  const replayed = lastJson(await runOnebyte('replay', '--log', result.roundLog, '--json'));
  assert.deepEqual([replayed.round, replayed.adapterDigest], [rounds, result.adapterDigest]);
  const records = await recordsIn(result.roundLog);
  assert.deepEqual(
    records.map(({ round }) => round),
    Array.from({ length: rounds }, (_, round) => round),
  );
  const places = records.flatMap((record) =>
    entriesOf(record).map((e) => `${record.round - e.staleness} ${e.worker} ${e.firstDirection}`),
  );
  assert.equal(new Set(places).size, places.length, 'each contribution counts once');
  return result;
}

const flags = (name: string, rounds: number): string[] => [
  ...['--rounds', String(rounds), '--out', join(directory, name), '--json', '--workers', '2'],
  ...settingFlags(['data.test=', `data.dev=${dev}`, 'trainer.evaluateEvery=5', 'trainer.checkpointEvery=3']),
  ...settingFlags(['trainer.leaseMs=4000', 'trainer.heartbeatMs=1000']),
];

describe('kill -9', () => {
  it('of the trainer and a worker at each named point costs nothing that was acknowledged', async () => {
    const plan: CrashPlan = {
      directory: join(directory, 'deaths'),
      plans: {
        trainer: [
          'in the middle of the header',
          'before append',
          'in the middle of an append',
          'before fsync',
          'after fsync',
          'before broadcast',
          'after broadcast',
          'before rename',
          'after rename',
        ],
        'worker-0': ['before contribution', 'after contribution'],
      },
    };
    mkdirSync(plan.directory);
    const environment = { ONEBYTE_CRASHES: JSON.stringify(plan) };
    const planned = Object.values(plan.plans).flat();
    const running = startOnebyte(['simulate', runFile, ...flags('points', 100_000)], environment, crashing);
    await running.line(new RegExp(`(killed by SIGKILL[^]*){${planned.length}}round [0-9]+/`));
    running.process.kill('SIGINT');
    assert.equal((await running.finished).code, EXIT.interrupted);
    const deaths = readdirSync(plan.directory).map((name) => readFileSync(join(plan.directory, name), 'utf8'));
    assert.deepEqual(deaths.sort(), planned.sort());
    const rounds = (await recordsIn(join(directory, 'points', 'round.log'))).length + 5;
    await assertWhole(await runOnebyte('simulate', runFile, ...flags('points', rounds), '--resume'), rounds);
  });

  it('of random processes under load, one after another, leaves a whole run', async () => {
    const random = seedrandom('kill');
    const running = startOnebyte(['simulate', runFile, ...flags('random', 100)]);
    let killed = 0;
    for (const round of [10, 30, 50, 70]) {
      await running.line(new RegExp(`round (${Array.from({ length: 10 }, (_, i) => round + i).join('|')})/`));
      const pids = childrenOf(running.process.pid!);
      const victim = pids[Math.floor(random() * pids.length)];
      if (victim !== undefined && kill(victim)) killed++;
    }
    assert(killed >= 3, `${killed} killed`);
    const { restarts } = await assertWhole(await running.finished, 100);
    assert.equal(restarts, killed);
  });
});

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
