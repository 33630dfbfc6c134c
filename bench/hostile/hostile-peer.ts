/** A connection to a trainer for members that lie: on the real protocol they say what they like, and hear what they are told. */
import type { Hello, TrainerMessage, Welcome, WorkerMessage } from '../../proto/gen/onebyte.ts';
import { canonicalJson, parseRunConfig, type RunConfig, runConfigSha256 } from '../../proto/run-config.ts';
import { connectTrainer, nextMessage, type TrainerConnection } from '../../worker/transport/trainer-client.ts';

type Message = NonNullable<WorkerMessage['message']>;

export interface HostileMember {
  readonly welcome: Welcome;
  /** After its end nothing is said any more. */
  send(message: Message): void;
  contribute(measuredRound: number, firstDirection: number, bytes: Uint8Array): void;
  /** Says no more. */
  end(): void;
  /** Calls `onMessage` for what the trainer says, with heartbeats meanwhile, until the stream ends. @returns what ended it */
  listen(onMessage: (message: TrainerMessage['message']) => void): Promise<Error>;
}

export class HostilePeer {
  private readonly connection: TrainerConnection;
  private configJson: string | undefined;

  constructor(address: string) {
    this.connection = connectTrainer(address, { tls: undefined, joinToken: undefined });
  }

  /** The trainer's. */
  async config(): Promise<RunConfig> {
    this.configJson ??= await this.connection.runConfig();
    return parseRunConfig(this.configJson, 'the trainer');
  }

  close(): void {
    this.connection.close();
  }

  /** Says hello as `name`; all its members share the connection. @throws what the trainer refuses with */
  async join(name: string, more: Partial<Hello> = {}): Promise<HostileMember> {
    const sha256 = runConfigSha256(canonicalJson(await this.config()));
    const stream = this.connection.join();
    const hello = { name, resumeSecret: Buffer.alloc(0), runConfigSha256: sha256, ...more };
    stream.send({ $case: 'hello', value: hello });
    const first = await nextMessage(stream);
    if (first?.$case !== 'welcome') throw new Error(`expected a welcome, got ${first?.$case}`);
    let isOver = false;
    const send = (message: Message): void => (isOver ? undefined : stream.send(message));
    return {
      welcome: first.value,
      send,
      contribute: (measuredRound, firstDirection, bytes) =>
        send({ $case: 'contribution', value: { measuredRound, firstDirection, gradientBytes: Buffer.from(bytes) } }),
      end() {
        if (!isOver) stream.end();
        isOver = true;
      },
      async listen(onMessage) {
        const beat = setInterval(() => send({ $case: 'heartbeat', value: {} }), first.value.heartbeatMs);
        try {
          for (;;) onMessage(await nextMessage(stream));
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

  /** Opens streams that say nothing. @returns what ends them */
  openStreams(n: number): () => void {
    const streams = Array.from({ length: n }, () => this.connection.join());
    return () => {
      for (const stream of streams) stream.end();
    };
  }
}
