/** Limits of the protocol, stated once. A peer that exceeds one is refused; it never costs anybody else. */

/** K, directions of one contribution. */
export const MAX_DIRECTIONS = 2048;
/** Gradients of one record, so that S = Σ Q·z fits int32: 8,192 · 448 · 512 < 2³¹. */
export const MAX_GRADIENTS_PER_RECORD = 8192;
/** m: the stripe counts that exist. √m is a power of two, so scaling by it is exact. */
export const STRIPES = [1, 4, 16, 64, 256] as const;
/** Bytes of one gRPC message, both ways. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Bytes of one message from a worker; the largest is a record given back: 8,192 contributions of 1 byte are 90 kB of columns at most. */
export const MAX_WORKER_MESSAGE_BYTES = 128 * 1024;
/** Data bytes of one snapshot chunk. */
export const SNAPSHOT_CHUNK_BYTES = 32 * 1024;
/**
 * How long a connection that brings nothing new may still be one over a slow line, ms. HTTP/2 has 64 KiB under way, and whatever comes
 * behind them, the answer to a keepalive ping too, waits for all of them: 55 s at 9.6 kbit/s.
 */
export const SLOW_LINE_MS = 90_000;
/** Bytes of all matrices of an adapter: 256 Mi elements. */
export const MAX_ADAPTER_BYTES = 2 ** 30;
/** Bytes of a snapshot that a worker takes: an adapter, and the few numbers beside it. */
export const MAX_SNAPSHOT_BYTES = MAX_ADAPTER_BYTES + MAX_MESSAGE_BYTES;
/** Workers a trainer gives numbers to in one run. */
export const MAX_WORKERS = 65536;
/** Characters of a worker's name. */
export const MAX_NAME_LENGTH = 128;
/** Characters of what a worker says of its device that are kept. */
export const MAX_DEVICE_LENGTH = 64;
/** Characters of the reason with which a worker leaves that are kept. */
export const MAX_REASON_LENGTH = 200;
/** Characters of a trainer's notice or refusal that a worker shows. */
export const MAX_NOTICE_LENGTH = 1_000;
/** Bytes of a digest: sha-256. */
export const DIGEST_BYTES = 32;
/** Bytes of one frame of the round log; the largest is a header: an initial adapter and the run config. */
export const MAX_LOG_FRAME_BYTES = MAX_SNAPSHOT_BYTES;
/** Directions are counted in 31 bits, so that every counter word of a block fits beside them. */
export const MAX_DIRECTION_INDEX = 2 ** 31 - 1;
/** Contributions that a worker may send for one measured round: with staleness it goes on while the record is on the way. */
export const contributionsPerRound = (maxStaleness: number): number => (maxStaleness > 0 ? 64 : 1);
/** Records that trainer and workers keep at hand, for a peer that lacks some. */
export const MAX_RECENT_RECORDS = 512;
/** Rounds between comparisons of replica digests. */
export const DIGEST_EVERY = 16;
