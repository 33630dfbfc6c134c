/** A link of stated rate and delay, one way: when bytes that enter it come out. The caller holds the clock. */

export interface LinkProperties {
  /** bit/s, headers included; Infinity: none. */
  readonly rate: number;
  /** There and back, ms. */
  readonly roundTripMs: number;
}

/** Ethernet, IPv4 and TCP with timestamps: bytes of a packet that are not the socket's. */
export const HEADER_BYTES = 14 + 20 + 32;
/** TCP payload of a full packet of 1,500 bytes. */
const SEGMENT_BYTES = 1448;

/** Bytes on the link for `bytes` bytes of a socket, sent at once. */
export const withHeaders = (bytes: number): number => bytes + HEADER_BYTES * Math.ceil(bytes / SEGMENT_BYTES);

/** ms that `bytes` bytes, headers included, take on the link. */
export const transmissionMs = (bytes: number, rate: number): number => (8000 * bytes) / rate;

/** Chunks on their way through one direction of a link, in order. */
export class DelayLine<Chunk extends { readonly length: number }> {
  private readonly link: LinkProperties;
  private readonly chunks: { readonly atMs: number; readonly chunk: Chunk }[] = [];
  /** When the sender has put its last bit on the link. */
  private freeAtMs = Number.NEGATIVE_INFINITY;
  /** Payload on the way. */
  bytes = 0;

  constructor(link: LinkProperties) {
    this.link = link;
  }

  enter(nowMs: number, chunk: Chunk): void {
    this.freeAtMs = Math.max(nowMs, this.freeAtMs) + transmissionMs(withHeaders(chunk.length), this.link.rate);
    this.chunks.push({ atMs: this.freeAtMs + this.link.roundTripMs / 2, chunk });
    this.bytes += chunk.length;
  }

  /** Takes out what has arrived by `nowMs`. */
  leave(nowMs: number): Chunk[] {
    const arrived: Chunk[] = [];
    while (this.chunks[0] && this.chunks[0].atMs <= nowMs) {
      const { chunk } = this.chunks.shift()!;
      this.bytes -= chunk.length;
      arrived.push(chunk);
    }
    return arrived;
  }

  /** When the next chunk arrives; undefined: none is on its way. */
  get nextMs(): number | undefined {
    return this.chunks[0]?.atMs;
  }
}
