/** A disk that takes no more: the trainer stops before anybody hears of a record that is not in the log, and goes on later. */
import assert from 'node:assert/strict';
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { bin, lastJson, root, runFile, runOnebyte, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const out = join(temporaryDirectory(), 'run');
const roundLog = join(out, 'round.log');
const simulate = ['simulate', runFile, '--out', out, '--json', '--workers', '1'];
const settings = settingFlags(['data.test=', 'data.dev=', 'trainer.checkpointEvery=0']);
/** No file may grow beyond it: 1 KiB blocks, as bash counts them. */
const LIMIT = 4;

describe('a full disk', () => {
  const full = existsSync('/dev/full') ? openSync('/dev/full', 'w') : undefined;
  const skip = full === undefined;
  /** Starts `onebyte <args>`, with what tells of it on a full disk. */
  const unheard = (args: readonly string[], format: string) =>
    fork(bin, [...args, ...settings], {
      stdio: ['ignore', 'ignore', full, 'ipc'],
      serialization: 'advanced',
      env: { ...process.env, ONEBYTE_LOG_FORMAT: format },
    });

  it('under stderr costs lines, and no run', { skip }, async () => {
    const trainer = unheard(['trainer', runFile, '--rounds', '2', '--out', `${out}-unheard`], 'json');
    const ended = once(trainer, 'exit');
    const [listening] = await Promise.race([once(trainer, 'message'), ended]);
    const worker = unheard(['worker', runFile, '--trainer', listening.address], 'text');
    assert.deepEqual(await Promise.all([ended, once(worker, 'exit')]), new Array(2).fill([EXIT.done, null]));
    const flags = ['--workers', '1', '--rounds', '2', '--out', `${out}-unseen`];
    assert.deepEqual(await once(unheard(['simulate', runFile, ...flags], 'text'), 'exit'), [EXIT.done, null]);
  });

  it('under stdout ends a command in one line, exit code 5', { skip }, async () => {
    const data = join(tinyReviews, 'dev.jsonl');
    const command = ['eval', '--model', join(tinyReviews, 'model'), '--data', data, '--json'];
    const child = spawn(process.execPath, [bin, ...command], { stdio: ['ignore', full, 'pipe'] });
    const [[code], stderr] = await Promise.all([once(child, 'close'), text(child.stderr!)]);
    assert.equal(code, EXIT.durableStore, stderr);
    assert.match(stderr, /^onebyte: stdout: ENOSPC.*\n$/);
  });

  it('stops the trainer with code 5; a resumed run goes on from the last record in the log', async () => {
    const command = [...simulate, ...settings, '--rounds', '1000'];
    const limit = `trap '' XFSZ; ulimit -f ${LIMIT}`;
    const { code, stderr } = await startOnebyte(command, {}, bin, root, limit).finished;
    assert.equal(code, EXIT.durableStore, stderr);
    const position = /round log \S+: (?:EFBIG|ENOSPC) at byte (\d+)\. Nothing after it was acknowledged/.exec(stderr);
    assert(position, stderr);
    assert(statSync(roundLog).size >= Number(position[1]), 'all that was acknowledged is in the log');

    const held = lastJson(await runOnebyte('replay', '--log', roundLog, '--json')).round;
    const rounds = held + 5;
    const resumed = await runOnebyte(...simulate, ...settings, '--resume', '--rounds', String(rounds));
    assert.equal(resumed.code, EXIT.done, resumed.stderr);
    const replayed = lastJson(await runOnebyte('replay', '--log', roundLog, '--json'));
    assert.deepEqual([replayed.round, replayed.adapterDigest], [rounds, lastJson(resumed).adapterDigest]);
  });
});
