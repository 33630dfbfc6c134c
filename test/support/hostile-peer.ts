/** A member that lies, on the real protocol: says what it likes over one connection, and hears what it is told. */
import type { Hello, Welcome, WorkerMessage } from '../../proto/gen/onebyte.ts';
import { canonicalJson, type RunConfig, runConfigSha256 } from '../../proto/run-config.ts';
import { connectTrainer, type TrainerConnection, type TrainerStream } from '../../worker/transport/trainer-client.ts';
import { next, PLAIN } from './protocol-worker.ts';
import type { Cleanup } from './temporary-directory.ts';

type Message = NonNullable<WorkerMessage['message']>;

export interface HostileMember {
  readonly welcome: Welcome;
  readonly stream: TrainerStream;
  send(message: Message): void;
  contribute(measuredRound: number, firstDirection: number, bytes: Uint8Array): void;
  /** Calls `onMessage` for what the trainer says, with heartbeats meanwhile, until the stream ends. @returns what ended it */
  listen(onMessage: (message: Awaited<ReturnType<typeof next>>) => void): Promise<Error>;
}

export class HostilePeer {
  private readonly connection: TrainerConnection;
  private readonly config: RunConfig;

  /** Its connection is closed after the test. */
  constructor(test: Cleanup, address: string, config: RunConfig) {
    this.connection = connectTrainer(address, PLAIN);
    this.config = config;
    test.after(() => this.connection.close());
  }

  /** Says hello as `name`; all its members share the connection. @throws what the trainer refuses with */
  async join(name: string, more: Partial<Hello> = {}): Promise<HostileMember> {
    const stream = this.connection.join();
    const runConfig = runConfigSha256(canonicalJson(this.config));
    const hello = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: runConfig, ...more };
    stream.send({ $case: 'hello', value: hello });
    const first = await next(stream);
    if (first?.$case !== 'welcome') throw new Error(`expected a welcome, got ${first?.$case}`);
    const send = (message: Message): void => stream.send(message);
    return {
      welcome: first.value,
      stream,
      send,
      contribute: (measuredRound, firstDirection, bytes) =>
        send({ $case: 'contribution', value: { measuredRound, firstDirection, gradientBytes: Buffer.from(bytes) } }),
      async listen(onMessage) {
        const beat = setInterval(() => send({ $case: 'heartbeat', value: {} }), first.value.heartbeatMs);
        try {
          for (;;) onMessage(await next(stream));
        } catch (error) {
          return error as Error;
        } finally {
          clearInterval(beat);
        }
      },
    };
  }

  /** Joins and is waited for: the trainer has no digest of a round 7 that it could compare. */
  async joinReady(name: string, more: Partial<Hello> = {}): Promise<HostileMember> {
    const member = await this.join(name, more);
    member.send({ $case: 'digest', value: { round: 7, sha256: Buffer.alloc(32, 7) } });
    return member;
  }
}
