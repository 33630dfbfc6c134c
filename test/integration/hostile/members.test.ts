/** Members that lie, one way each, to a real trainer at work: the run goes on, and honest workers end with its replica. */
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { HostilePeer } from '../../../bench/hostile/hostile-peer.ts';
import { replicaDigest } from '../../../kernels/replica.ts';
import { splitAddress } from '../../../platform/address.ts';
import { EXIT } from '../../../proto/operating-error.ts';
import { entriesOf } from '../../../proto/record.ts';
import type { TrainerSettings } from '../../../settings/trainer-settings.ts';
import type { Report } from '../../../trainer/core/state.ts';
import type { TrainerOptions } from '../../../trainer/run-trainer.ts';
import { roundLogFile } from '../../../trainer/store/open-run.ts';
import { readRoundLog, recordsOf } from '../../../trainer/store/round-log.ts';
import { connectTrainer } from '../../../worker/transport/trainer-client.ts';
import { PLAIN, protocolWorker } from '../../support/protocol-worker.ts';
import { smallRunConfig, smallSettings } from '../../support/small-run.ts';
import { roundDone, type TestTrainer, testTrainer } from '../../support/test-trainer.ts';

const config = smallRunConfig();
const ROUNDS = 60;

interface Field {
  readonly trainer: TestTrainer;
  readonly peer: HostilePeer;
  /** Waits for the end of the run: it is done, and the honest hold its replica. */
  end(): Promise<void>;
}

/** A trainer that starts once `hostile` members are there beside three honest workers. */
async function field(
  t: TestContext,
  hostile: number,
  settings: Partial<TrainerSettings> = {},
  options: Partial<TrainerOptions> = {},
): Promise<Field> {
  const common = { startWorkers: 3 + hostile, leaseMs: 3_000, heartbeatMs: 300, deadlineCeilingMs: 5_000 };
  const rounds = options.rounds ?? ROUNDS;
  const trainer = await testTrainer(t, {
    config,
    settings: smallSettings({ ...common, ...settings }),
    ...options,
    rounds,
  });
  const honest = ['a', 'b', 'c'].map((name) => protocolWorker(trainer.address, { name, config }));
  for (const worker of honest) worker.catch(() => {});
  const peer = new HostilePeer(trainer.address);
  t.after(() => peer.close());
  return {
    trainer,
    peer,
    async end() {
      const { exitCode, text, replicaDigest: digest } = await trainer.result;
      assert.equal(exitCode, EXIT.done, text);
      for (const worker of honest) assert.equal(replicaDigest(await worker).toString('hex'), digest);
    },
  };
}

const roundsOf = (reports: readonly Report[]) => reports.flatMap((report) => (report.kind === 'round' ? [report] : []));

describe('a member', () => {
  it('that contributes for every direction adds one contribution to a record, and ends no run', async (t) => {
    const { trainer, peer, end } = await field(t, 2);
    const member = await peer.joinReady('filler');
    const fill = (round: number): void => {
      for (let i = 0; i < 1_100; i++) member.contribute(round, 8 * i, Buffer.alloc(8, 0x7f));
    };
    fill(0);
    // Round 0 is open until the last of five is there: all that was sent has been heard by then.
    member.send({ $case: 'digest', value: { round: 9, sha256: Buffer.alloc(32) } });
    await trainer.reported((r) => r.kind === 'digest' && r.worker === member.welcome.worker && r.round === 9);
    (await peer.joinReady('last')).contribute(0, 0, Buffer.alloc(8, 0x7f));
    void member.listen((message) => message?.$case === 'record' && fill(message.value.round + 1));
    await end();
    for (const record of recordsOf((await readRoundLog(roundLogFile(trainer.directory))).frames)) {
      const own = entriesOf(record).filter(({ worker }) => worker === member.welcome.worker);
      assert(own.length <= 1, `record ${record.round} holds ${own.length} of its contributions`);
      assert(record.workers.length - own.length >= 1, `record ${record.round} is its alone`);
    }
  });

  it('that claims impossible counts is refused, and no evaluation holds them', async (t) => {
    const { trainer, peer, end } = await field(t, 1, { evaluateEvery: 5 }, { devRows: 8 });
    const member = await peer.joinReady('boaster');
    member.contribute(0, 0, Buffer.alloc(8, 0x40));
    const ended = member.listen((message) => {
      if (message?.$case === 'record') member.contribute(message.value.round + 1, 0, Buffer.alloc(8, 0x40));
      if (message?.$case !== 'evaluate') return;
      const { round, firstRow, rows } = message.value;
      const lossSum = round === 0 ? rows : -1e300;
      const value = { round, firstRow, rows, correct: rows, classified: rows, lossSum };
      member.send({ $case: 'evaluation', value });
    });
    assert.match((await ended).message, /a loss of -1e\+300/);
    await end();
    const evaluations = trainer.reports.flatMap((report) => (report.kind === 'evaluation' ? [report] : []));
    assert(evaluations.length > 0);
    for (const { loss } of evaluations) assert.equal(loss, 1);
  });

  it("that says another's name gets neither its number nor its secret", async (t) => {
    const { trainer, peer, end } = await field(t, 0);
    await trainer.reported(roundDone(3));
    for (const resumeSecret of [Buffer.alloc(0), Buffer.alloc(16, 1)])
      for (const name of ['a', 'b', 'c'])
        await assert.rejects(peer.join(name, { resumeSecret }), {
          name: 'ConnectionLost',
          message: new RegExp(`the name ${name} is taken`),
        });
    await end();
  });

  it('that only says that the trainer is wrong, on many streams of one connection, stops nothing', async (t) => {
    const { trainer, peer, end } = await field(t, 0);
    for (const name of ['v', 'w', 'x', 'y']) {
      const member = await peer.join(name);
      const claim = (round: number): void =>
        member.send({ $case: 'digest', value: { round, sha256: Buffer.alloc(32, 66) } });
      void member.listen((message) => {
        if (message?.$case === 'record' && (message.value.round + 1) % 16 === 0) claim(message.value.round + 1);
      });
    }
    await end();
    assert(!trainer.reports.some(({ kind }) => kind === 'doubted'));
  });

  it('that never answers an evaluation does not keep the run from its end', { timeout: 120_000 }, async (t) => {
    const { trainer, peer, end } = await field(t, 1, {}, { devRows: 8, rounds: 20 });
    const member = await peer.joinReady('mute');
    member.contribute(0, 0, Buffer.alloc(8, 0x40));
    void member.listen((message) => {
      if (message?.$case === 'record') member.contribute(message.value.round + 1, 0, Buffer.alloc(8, 0x40));
    });
    await end();
    const last = trainer.reports.findLast((report) => report.kind === 'evaluation');
    assert.deepEqual([last?.kind === 'evaluation' && last.round, last?.kind === 'evaluation' && last.rows], [20, 8]);
  });

  it('that repeats itself late does not make rounds wait longer', async (t) => {
    // Every round waits for all four: what is late is a repetition, also on a busy machine.
    const { trainer, peer, end } = await field(t, 1, { deadlineFloorMs: 5_000 }, { rounds: 200 });
    const member = await peer.joinReady('parrot');
    member.contribute(0, 0, Buffer.alloc(8, 0x40));
    void member.listen((message) => {
      if (message?.$case !== 'record') return;
      const { round } = message.value;
      member.contribute(round + 1, 0, Buffer.alloc(8, 0x40));
      // What was long ago: many times, and of the last round that the trainer knows the opening of.
      for (let i = 0; i < 20; i++) member.contribute(Math.max(0, round - 1), 0, Buffer.alloc(8, 0x40));
    });
    await end();
    const late = trainer.reports.filter((report) => report.kind === 'late' && report.worker === member.welcome.worker);
    assert.equal(late.length, 0);
  });

  it('that is silent is waited for in few rounds', async (t) => {
    const { trainer, peer, end } = await field(t, 1);
    const member = await peer.joinReady('silent');
    void member.listen(() => {});
    await end();
    const missed = roundsOf(trainer.reports).filter(({ detail }) => detail.missing.includes(member.welcome.worker));
    assert.equal(missed.length, 3);
  });

  it('that joins and leaves uses up no numbers and leaves nothing in the log', async (t) => {
    const { trainer, peer, end } = await field(t, 1);
    const first = await peer.join('n0');
    const numbers: number[] = [];
    for (let i = 1; i <= 100; i++) {
      const member = await peer.join(`n${i}`);
      numbers.push(member.welcome.worker);
      const ended = member.listen(() => {});
      member.send({ $case: 'leave', value: { reason: 'on to the next' } });
      member.end();
      await ended;
    }
    assert(Math.max(...numbers) < 10, `numbers up to ${Math.max(...numbers)}`);
    first.send({ $case: 'digest', value: { round: 0, sha256: Buffer.alloc(32) } });
    first.send({ $case: 'leave', value: { reason: 'gone' } });
    const last = await peer.joinReady('last');
    last.contribute(0, 0, Buffer.alloc(8, 0x40));
    void last.listen(() => {});
    await end();
    const { frames } = await readRoundLog(roundLogFile(trainer.directory));
    const names = frames.flatMap(({ frame }) => (frame?.$case === 'joined' ? [frame.value.name] : []));
    assert.deepEqual(names.sort(), ['a', 'b', 'c', 'last']);
  });
});

describe('GetStatus', () => {
  it('tells names to this machine alone where the trainer asks for no token', async (t) => {
    const own = Object.values(networkInterfaces()).flat();
    const outside = own.find((one) => one?.family === 'IPv4' && !one.internal)?.address;
    const settings = smallSettings({ listen: '0.0.0.0:0' });
    const trainer = await testTrainer(t, { config, settings });
    const { port } = splitAddress(trainer.address);
    const worker = protocolWorker(`127.0.0.1:${port}`, { name: 'a', config, until: 20 });
    await trainer.reported(roundDone(2));
    const namesAt = async (host: string): Promise<string[]> => {
      const connection = connectTrainer(`${host}:${port}`, PLAIN);
      t.after(() => connection.close());
      return (await connection.status()).members.map(({ name }) => name);
    };
    assert.deepEqual(await namesAt('127.0.0.1'), ['a']);
    // A machine without a network has no strangers.
    if (outside !== undefined) assert.deepEqual(await namesAt(outside), ['']);
    await worker;
  });
});
