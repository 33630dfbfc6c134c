/**
 * Frames of the round log: magic (4 bytes), payload length (u32), CRC-32 (u32), payload; little endian. The CRC covers the
 * frame's position in the file, the length and the payload, so a frame that was moved, cut or merged does not verify.
 */
import { crc32 } from 'node:zlib';
import { MAX_LOG_FRAME_BYTES } from './limits.ts';
import { usageError } from './operating-error.ts';

const MAGIC = Buffer.from('1Byt');
const FRAME_HEADER_BYTES = 12;

function checksum(position: number, payload: Uint8Array): number {
  const prefix = Buffer.alloc(12);
  prefix.writeBigUInt64LE(BigInt(position), 0);
  prefix.writeUInt32LE(payload.length, 8);
  return crc32(payload, crc32(prefix));
}

/** The frame of `payload` that begins `position` bytes into the file. @throws OperatingError usage: it is too large */
export function encodeLogFrame(position: number, payload: Uint8Array): Buffer {
  if (payload.length > MAX_LOG_FRAME_BYTES)
    throw usageError(
      `round log: a frame of ${payload.length} bytes, at most ${MAX_LOG_FRAME_BYTES}; the first one holds the adapter that the run continues`,
    );
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(payload.length, 4);
  header.writeUInt32LE(checksum(position, payload), 8);
  return Buffer.concat([header, payload]);
}

/** What stands behind the last frame that verifies. */
export type LogTail =
  | { readonly kind: 'clean' }
  /** A frame that was not written whole: cut it. */
  | { readonly kind: 'torn'; readonly position: number }
  /** Damage, with valid frames behind it: refuse. */
  | { readonly kind: 'damaged'; readonly position: number; readonly nextValid: number };

/** The bytes of a round log: in memory, or in a file of any size that is read piece by piece. */
export interface LogBytes {
  readonly length: number;
  subarray(start: number, end: number): Buffer;
}

/** The payloads of all frames of `log` up to the first that does not verify, and what comes then. */
export function decodeLogFrames(log: LogBytes): { payloads: Buffer[]; validBytes: number; tail: LogTail } {
  const payloads: Buffer[] = [];
  let position = 0;
  for (let payload = frameAt(log, 0); payload !== undefined; payload = frameAt(log, position)) {
    payloads.push(payload);
    position += FRAME_HEADER_BYTES + payload.length;
  }
  return { payloads, validBytes: position, tail: tailFrom(log, position) };
}

function frameAt(log: LogBytes, position: number): Buffer | undefined {
  const start = position + FRAME_HEADER_BYTES;
  if (start > log.length) return;
  const header = log.subarray(position, start);
  const length = header.readUInt32LE(4);
  if (header.compare(MAGIC, 0, 4, 0, 4) !== 0 || length > MAX_LOG_FRAME_BYTES || start + length > log.length) return;
  const payload = log.subarray(start, start + length);
  return header.readUInt32LE(8) === checksum(position, payload) ? payload : undefined;
}

/** Bytes of a tail that are searched at once. */
const SEARCH_BYTES = 2 ** 20;

function tailFrom(log: LogBytes, position: number): LogTail {
  if (position === log.length) return { kind: 'clean' };
  for (let from = position + 1; from < log.length; from += SEARCH_BYTES) {
    const part = log.subarray(from, Math.min(log.length, from + SEARCH_BYTES + MAGIC.length - 1));
    for (let at = part.indexOf(MAGIC); at !== -1; at = part.indexOf(MAGIC, at + 1))
      if (frameAt(log, from + at)) return { kind: 'damaged', position, nextValid: from + at };
  }
  return { kind: 'torn', position };
}
