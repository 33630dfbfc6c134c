/** The other side of `onebyte bench protocol`: many workers in one process, each a connection and a stream of its own, decode only. */
import { credentials } from '@grpc/grpc-js';
import { TrainerClient, type TrainerMessage, type WorkerMessage } from '../proto/gen/onebyte.ts';

/** What the parent process says. */
export interface Assignment {
  readonly address: string;
  readonly firstWorker: number;
  readonly workers: number;
  readonly directions: number;
  /** Hex. */
  readonly runConfigSha256: string;
  readonly initialDigest: string;
}

/** What the parent process hears at the end: CPU time of this process, ms. */
export interface Account {
  readonly cpuMs: number;
}

const milliseconds = ({ user, system }: NodeJS.CpuUsage): number => (user + system) / 1000;

/** Joins as worker `number` and answers every record with seeded bytes until the trainer hangs up. */
function work(number: number, { address, directions, runConfigSha256, initialDigest }: Assignment): Promise<void> {
  const client = new TrainerClient(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const call = client.join();
  const say = (message: NonNullable<WorkerMessage['message']>): void => void call.write({ message });
  const gradientBytes = Buffer.alloc(directions);
  const contribute = (measuredRound: number): void => {
    for (let i = 0; i < directions; i++) gradientBytes[i] = 40 + ((number + i * 7 + measuredRound) % 30);
    say({ $case: 'contribution', value: { measuredRound, firstDirection: 0, gradientBytes } });
  };
  call.on('data', ({ message }: TrainerMessage) => {
    if (message?.$case === 'welcome') {
      say({ $case: 'digest', value: { round: 0, sha256: Buffer.from(initialDigest, 'hex') } });
      contribute(0);
    } else if (message?.$case === 'record') contribute(message.value.round + 1);
  });
  say({
    $case: 'hello',
    value: {
      name: `worker-${number}`,
      requestedWorker: number,
      resumeSecret: Buffer.alloc(0),
      runConfigSha256: Buffer.from(runConfigSha256, 'hex'),
    },
  });
  return new Promise((resolve) => {
    const end = (): void => {
      client.close();
      resolve();
    };
    call.on('end', end).on('error', end);
  });
}

process.once('message', (assignment: Assignment) => {
  const numbers = Array.from({ length: assignment.workers }, (_, i) => assignment.firstWorker + i);
  Promise.all(numbers.map((number) => work(number, assignment))).then(
    () => process.send?.({ cpuMs: milliseconds(process.cpuUsage()) } satisfies Account, () => process.disconnect()),
    (error) => {
      throw error;
    },
  );
});
