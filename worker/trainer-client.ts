/** The worker's gRPC face: one stream to the trainer, and how its ends are to be understood. */
import * as grpc from '@grpc/grpc-js';
import {
  type GetRunConfigResponse,
  type SnapshotChunk,
  TrainerClient,
  type TrainerMessage,
  type WorkerMessage,
} from '../proto/gen/onebyte.ts';
import { MAX_MESSAGE_BYTES } from '../proto/limits.ts';
import { EXIT, OperatingError } from '../proto/operating-error.ts';
import { Inbox } from './inbox.ts';

/** Longest wait for a unary answer, ms. */
const UNARY_DEADLINE_MS = 20_000;

/** The stream or the trainer is gone for now: connect again. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** Statuses by which the trainer says no; all others are faults of the way there. */
const REFUSALS: readonly grpc.status[] = [
  grpc.status.INVALID_ARGUMENT,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.ALREADY_EXISTS,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNAUTHENTICATED,
  grpc.status.ABORTED,
  grpc.status.OUT_OF_RANGE,
  grpc.status.UNIMPLEMENTED,
];

const understood = (address: string, error: grpc.ServiceError): Error =>
  REFUSALS.includes(error.code)
    ? new OperatingError(EXIT.refused, `refused by the trainer at ${address}: ${error.details}`)
    : new ConnectionLost(`trainer at ${address}: ${error.details}`);

export interface TrainerStream {
  readonly inbox: Inbox<TrainerMessage>;
  send(message: NonNullable<WorkerMessage['message']>): void;
  /** Says no more; the stream ends once what was sent is written. */
  end(): void;
}

export interface TrainerConnection {
  runConfig(): Promise<string>;
  join(): TrainerStream;
  snapshot(): Promise<Uint8Array>;
  close(): void;
}

export function connectTrainer(address: string, credentials: grpc.ChannelCredentials): TrainerConnection {
  const client = new TrainerClient(address, credentials, {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2_000,
  });
  return {
    runConfig: () =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + UNARY_DEADLINE_MS;
        const reply = (error: grpc.ServiceError | null, response: GetRunConfigResponse): void =>
          error ? reject(understood(address, error)) : resolve(response.runConfig);
        client.getRunConfig({}, new grpc.Metadata(), { deadline }, reply);
      }),
    join() {
      const call = client.join();
      const inbox = new Inbox<TrainerMessage>();
      call.on('data', (message: TrainerMessage) => inbox.push(message));
      call.on('error', (error: grpc.ServiceError) => inbox.end(understood(address, error)));
      call.on('end', () => inbox.end(new ConnectionLost(`trainer at ${address}: ended the stream`)));
      return { inbox, send: (message) => void call.write({ message }), end: () => void call.end() };
    },
    snapshot: () =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        const call = client.getSnapshot({});
        call.on('data', ({ data }: SnapshotChunk) => chunks.push(data));
        call.on('error', (error: grpc.ServiceError) => reject(understood(address, error)));
        call.on('end', () => resolve(Buffer.concat(chunks)));
      }),
    close: () => client.close(),
  };
}
