/** A trainer at work with honest workers, and a connection to be hostile on. */
import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { replicaDigest } from '../../kernels/replica.ts';
import type { RunConfig } from '../../proto/run-config.ts';
import { SERVICE_LIMITS, type ServiceLimits } from '../../trainer/transport/service-limits.ts';
import { protocolWorker } from './protocol-worker.ts';
import { grpcFrame, type RawCall, rawCall, rawSession } from './raw-peer.ts';
import { smallSettings } from './small-run.ts';
import type { Cleanup } from './temporary-directory.ts';
import { roundDone, type TestTrainer, testTrainer } from './test-trainer.ts';

export interface Arena {
  readonly trainer: TestTrainer;
  readonly session: ClientHttp2Session;
  /** Opens a Join and sends messages. */
  join(...messages: Uint8Array[]): RawCall;
  /** Waits until further rounds are committed. */
  goesOn(): Promise<void>;
  /** Waits until further rounds are committed, drains the trainer, and compares all replicas. */
  finish(): Promise<void>;
}

/** Three honest workers are at work when it resolves. */
export async function arena(test: Cleanup, config: RunConfig, limits: Partial<ServiceLimits> = {}): Promise<Arena> {
  const trainer = await testTrainer(test, {
    config,
    settings: smallSettings({ startWorkers: 3, leaseMs: 1500, heartbeatMs: 300 }),
    serviceLimits: { ...SERVICE_LIMITS, ...limits },
  });
  const { address } = trainer;
  const honest = ['a', 'b', 'c'].map((name) => protocolWorker(address, { name, config }));
  for (const worker of honest) worker.catch(() => {});
  const session = rawSession(address);
  test.after(() => session.destroy());
  await trainer.reported(roundDone(2));
  const goesOn = async (): Promise<void> => {
    const { round } = trainer.reports.findLast((report) => report.kind === 'round')!;
    await trainer.reported(roundDone(round + 20));
  };
  return {
    trainer,
    session,
    goesOn,
    join(...messages) {
      const call = rawCall(session, 'Join');
      for (const message of messages) call.stream.write(grpcFrame(message));
      return call;
    },
    async finish() {
      await goesOn();
      session.destroy();
      trainer.drain();
      const { rounds, replicaDigest: digest } = await trainer.result;
      const replicas = await Promise.all(honest);
      assert.deepEqual(
        replicas.map((replica) => [replica.normaliser.round, replicaDigest(replica).toString('hex')]),
        replicas.map(() => [rounds, digest]),
      );
      const suspects = trainer.reports.filter((report) => report.kind === 'deviant' && report.worker < honest.length);
      assert.deepEqual(suspects, []);
    },
  };
}
