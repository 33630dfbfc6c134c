/** Strangers that open more connections than the trainer's process may have files open. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { settingFlags } from '../../../cli/command.ts';
import { splitAddress } from '../../../platform/address.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { parseRunConfig } from '../../../proto/run-config.ts';
import { connectTrainer } from '../../../worker/transport/trainer-client.ts';
import { bin, root, runFile, startOnebyte } from '../../support/onebyte.ts';
import { PLAIN, protocolWorker } from '../../support/protocol-worker.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** Descriptors that the process may have, and connections that each of its ports gets. */
const LIMIT = 300;

describe('connections that say nothing, more than descriptors', () => {
  it('end no run: it goes on and writes its checkpoints', async (test) => {
    const settings = settingFlags([
      'data.test=',
      'data.dev=',
      'trainer.checkpointEvery=5',
      'trainer.listen=127.0.0.1:0',
    ]);
    const out = join(temporaryDirectory(), 'run');
    const args = ['trainer', runFile, '--out', out, '--rounds', '12', '--dashboard', '127.0.0.1:0', ...settings];
    const trainer = startOnebyte(args, {}, bin, root, `ulimit -n ${LIMIT}`);
    test.after(() => trainer.process.kill('SIGKILL'));
    const [, dashboard] = await trainer.line(/dashboard: http:\/\/([\d.:]+)/);
    const [, address] = await trainer.line(/listening on ([\d.:]+)/);
    const silent = [dashboard!, address!].flatMap((each) => {
      const { host, port } = splitAddress(each);
      return Array.from({ length: LIMIT }, () => connect(port, host).on('error', () => {}));
    });
    test.after(() => {
      for (const socket of silent) socket.destroy();
    });
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    const connection = connectTrainer(address!, PLAIN);
    const config = parseRunConfig(await connection.runConfig(), 'the trainer');
    connection.close();
    await Promise.all(['a', 'b'].map((name) => protocolWorker(address!, { name, config })));
    const { code, stderr } = await trainer.finished;
    assert.equal(code, EXIT.done, stderr);
    assert.doesNotMatch(stderr, /"kind":"waiting"/);
  });
});
