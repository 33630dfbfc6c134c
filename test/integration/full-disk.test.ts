/** A disk that takes no more: the trainer stops before anybody hears of a record that is not in the log, and goes on later. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingFlags } from '../../cli/command.ts';
import { EXIT } from '../../proto/operating-error.ts';
import { bin, lastJson, root, runOnebyte, startOnebyte, tinyReviews } from '../support/onebyte.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const out = join(temporaryDirectory(), 'run');
const roundLog = join(out, 'round.log');
const simulate = ['simulate', join(tinyReviews, 'run.yaml'), '--out', out, '--json', '--workers', '1'];
const settings = settingFlags(['data.test=', 'data.dev=', 'trainer.checkpointEvery=0']);
/** No file may grow beyond it: 1 KiB blocks, as bash counts them. */
const LIMIT = 4;

describe('a full disk', () => {
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
