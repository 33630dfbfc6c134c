/** The worker's gRPC face: one stream to the trainer, and how its ends are to be understood. */
import * as grpc from '@grpc/grpc-js';
import { splitAddress } from '../../platform/address.ts';
import type { TlsFiles } from '../../platform/tls-files.ts';
import {
  type GetRunConfigResponse,
  type GetStatusResponse,
  type SnapshotChunk,
  TrainerClient,
  type TrainerMessage,
  type WorkerMessage,
} from '../../proto/gen/onebyte.ts';
import { JOIN_TOKEN_KEY } from '../../proto/join-token.ts';
import { MAX_MESSAGE_BYTES, MAX_NOTICE_LENGTH, MAX_SNAPSHOT_BYTES, SLOW_LINE_MS } from '../../proto/limits.ts';
import { EXIT, OperatingError, usageError } from '../../proto/operating-error.ts';
import { peerText } from '../../proto/peer-text.ts';
import { MessageQueue } from './message-queue.ts';
import { mayUseProxy, proxyTo } from './proxy.ts';
import { tlsProblem } from './tls-problem.ts';

/** Longest wait for a unary answer, ms. */
const UNARY_DEADLINE_MS = 20_000;

/** What the worker shows the trainer. */
export interface ClientAccess {
  /** Undefined: plain text. */
  readonly tls: TlsFiles | undefined;
  /** Sent with every call; undefined: the trainer asks for none. */
  readonly joinToken: string | undefined;
}

/** The stream or the trainer is gone for now: connect again. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** Refused: the trainer at this address holds another run than this worker. */
export class OtherRun extends OperatingError {
  constructor(message: string) {
    super(EXIT.refused, message);
  }
}

/** Statuses by which the trainer says no; all others are faults of the way there. */
const REFUSALS: readonly grpc.status[] = [
  grpc.status.INVALID_ARGUMENT,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNAUTHENTICATED,
  grpc.status.ABORTED,
  grpc.status.UNIMPLEMENTED,
];

/** Statuses of a trainer that was reached, and may take the worker later. */
const LATER: readonly grpc.status[] = [grpc.status.ALREADY_EXISTS, grpc.status.RESOURCE_EXHAUSTED];

type Reply<Response> = (error: grpc.ServiceError | null, response: Response) => void;

/** How grpc-js begins to tell of an answer that is none of gRPC: of a gateway whose trainer is away, or of another service. */
const HTTP_STATUS = 'Received HTTP status code';

/** What a peer or grpc-js says of a call, fit for a person, without the headings of notes that are empty. */
const reasonOf = ({ details }: grpc.ServiceError): string =>
  peerText(details.replace(/( Last error: undefined\.)?( Resolution note: )?$/, ''), MAX_NOTICE_LENGTH);

/** What went wrong on the way: whoever hears nothing may still have reached somebody. */
function faultOf(address: string, code: grpc.status): string {
  if (code === grpc.status.UNAVAILABLE) {
    const way = proxyTo(address);
    const asked = way
      ? `is it running, is the address right, and does the proxy ${way.proxy} (${way.variable}) let this through to there?`
      : 'is it running, and is the address right?';
    return `cannot reach the trainer at ${address} (${asked})`;
  }
  if (code === grpc.status.DEADLINE_EXCEEDED)
    return `no answer in time from ${address} (is it a trainer, is its machine overloaded, or does a firewall drop what is sent there?)`;
  if (code === grpc.status.CANCELLED) return `the trainer at ${address} ended the call`;
  return `the call to the trainer at ${address} failed`;
}

function understood(address: string, error: grpc.ServiceError): Error {
  if (LATER.includes(error.code))
    return new ConnectionLost(`the trainer at ${address} does not take this worker yet: ${reasonOf(error)}`);
  if (error.details.startsWith(HTTP_STATUS))
    return new ConnectionLost(`a web server or a gateway answers at ${address}, and no trainer: ${reasonOf(error)}`);
  if (!REFUSALS.includes(error.code)) return new ConnectionLost(`${faultOf(address, error.code)}: ${reasonOf(error)}`);
  const text = `refused by the trainer at ${address}: ${reasonOf(error)}`;
  return error.code === grpc.status.FAILED_PRECONDITION ? new OtherRun(text) : new OperatingError(EXIT.refused, text);
}

export interface TrainerStream {
  readonly messages: MessageQueue<TrainerMessage>;
  send(message: NonNullable<WorkerMessage['message']>): void;
  /** Says no more; the stream ends once what was sent is written. */
  end(): void;
}

/** The next message of a stream. @throws what ended it */
export async function nextMessage({ messages }: TrainerStream): Promise<TrainerMessage['message']> {
  for (;;) {
    const taken = messages.take();
    if (taken) return taken.message;
    await messages.wait();
  }
}

/**
 * What fails is an OperatingError where the trainer refuses, else a ConnectionLost. Where nobody answers `runConfig` or `status` in time, all
 * that is open ends too, and the next call makes a new connection.
 */
export interface TrainerConnection {
  runConfig(): Promise<string>;
  status(): Promise<GetStatusResponse>;
  join(): TrainerStream;
  /** @param hungUp aborted: nobody waits for it any more */
  snapshot(hungUp?: AbortSignal): Promise<Uint8Array>;
  close(): void;
}

/** @throws OperatingError usage: an address that gRPC cannot go to */
export function connectTrainer(address: string, { tls, joinToken }: ClientAccess): TrainerConnection {
  if (splitAddress(address).host.includes('%'))
    throw usageError(
      `trainer at ${address}: gRPC goes to no address with a zone: give another address of that machine, or its name`,
    );
  const credentials = tls ? grpc.credentials.createSsl(tls.ca, tls.key, tls.cert) : grpc.credentials.createInsecure();
  const open = (): TrainerClient =>
    new TrainerClient(address, credentials, {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      // A connection of its own: members that share one have one voice.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': SLOW_LINE_MS,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 2_000,
      'grpc.enable_http_proxy': mayUseProxy(address) ? 1 : 0,
    });
  let client = open();
  const metadata = new grpc.Metadata();
  if (joinToken !== undefined) metadata.set(JOIN_TOKEN_KEY, joinToken);
  let isReached = false;
  const unary = async <Response>(
    call: (options: grpc.CallOptions, reply: Reply<Response>) => void,
  ): Promise<Response> => {
    const answer = new Promise<Response>((resolve, reject) => {
      const deadline = Date.now() + UNARY_DEADLINE_MS;
      call({ deadline }, (error, response) => {
        if (!error) return resolve(response);
        if (error.code === grpc.status.DEADLINE_EXCEEDED) {
          // gRPC itself would wait without limit for the first word on a connection that was taken and leads nowhere.
          client.close();
          client = open();
        }
        reject(understood(address, error));
      });
    });
    const response = await answer.catch(async (error: Error) => {
      // A trainer that was reached once may have its reasons to be away; the first time a wrong flag is the likelier one.
      const problem = !isReached && error instanceof ConnectionLost ? await tlsProblem(address, tls) : undefined;
      throw problem === undefined ? error : usageError(`trainer at ${address}: ${problem}`);
    });
    isReached = true;
    return response;
  };
  return {
    runConfig: async () =>
      (await unary<GetRunConfigResponse>((options, reply) => client.getRunConfig({}, metadata, options, reply)))
        .runConfig,
    status: () => unary<GetStatusResponse>((options, reply) => client.getStatus({}, metadata, options, reply)),
    join() {
      const call = client.join(metadata);
      const messages = new MessageQueue<TrainerMessage>();
      call.on('data', (message: TrainerMessage) => messages.push(message));
      call.on('error', (error: grpc.ServiceError) => messages.end(understood(address, error)));
      call.on('end', () => messages.end(new ConnectionLost(`the trainer at ${address} ended the stream`)));
      return { messages, send: (message) => void call.write({ message }), end: () => void call.end() };
    },
    snapshot(hungUp) {
      const call = client.getSnapshot({}, metadata);
      hungUp?.addEventListener('abort', () => call.cancel());
      return receiveSnapshot(address, call);
    },
    close: () => client.close(),
  };
}

/** Collects the chunks of `call`; a trainer that stalls or sends too much is left. */
function receiveSnapshot(address: string, call: grpc.ClientReadableStream<SnapshotChunk>): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (error: Error): void => {
      clearTimeout(timer);
      call.cancel();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new ConnectionLost(`the trainer at ${address} sent no part of its snapshot for ${SLOW_LINE_MS} ms`)),
      SLOW_LINE_MS,
    );
    call.on('data', ({ data }: SnapshotChunk) => {
      timer.refresh();
      bytes += data.length;
      if (bytes <= MAX_SNAPSHOT_BYTES) chunks.push(data);
      else
        fail(
          new OperatingError(EXIT.refused, `trainer at ${address}: its snapshot exceeds ${MAX_SNAPSHOT_BYTES} bytes`),
        );
    });
    call.on('error', (error: grpc.ServiceError) => fail(understood(address, error)));
    call.on('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
  });
}
