/** A hostile peer: HTTP/2 by hand, so that it may send what no gRPC library would. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';

export interface RawAnswer {
  /** `grpc-status`, or how the stream ended without one. */
  readonly status: string;
  readonly text: string;
}

export interface RawCall {
  readonly stream: ClientHttp2Stream;
  readonly ended: Promise<RawAnswer>;
}

/** A session that never throws: the other side may end it at any time. */
export function rawSession(address: string): ClientHttp2Session {
  const session = connect(`http://${address}`);
  session.on('error', () => {});
  return session;
}

/** Opens a call of `method` (`Join`) and leaves it open. */
export function rawCall(session: ClientHttp2Session, method: string, headers: OutgoingHttpHeaders = {}): RawCall {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/onebyte.Trainer/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  const ended = new Promise<RawAnswer>((resolve) => {
    const take = (answer: { readonly [name: string]: unknown }): void => {
      const status = answer['grpc-status'];
      if (status !== undefined) resolve({ status: String(status), text: String(answer['grpc-message']) });
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('error', (error) => resolve({ status: 'error', text: error.message }));
    stream.on('close', () => resolve({ status: 'closed', text: `code ${stream.rstCode}` }));
  });
  stream.resume();
  return { stream, ended };
}

/** `payload` as one gRPC message; `length` and `compressed` may lie. */
export function grpcFrame(payload: Uint8Array, { length = payload.length, compressed = 0 } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
}
