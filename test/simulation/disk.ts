/** A disk with one file: what was not synced may be lost or torn, bits flip, and it fills up or breaks. */

export class VirtualDisk {
  private readonly random: () => number;
  private durable = Buffer.alloc(0);
  /** Synced since `durable` was last put together. */
  private tail: Uint8Array[] = [];
  private tailBytes = 0;
  private unsynced = Buffer.alloc(0);
  /** The next write or sync fails, as EIO and ENOSPC do. */
  failNext: 'EIO' | 'ENOSPC' | undefined;

  constructor(random: () => number) {
    this.random = random;
  }

  get length(): number {
    return this.durable.length + this.tailBytes + this.unsynced.length;
  }

  /** @throws with a part of `bytes` written, when the disk fails */
  write(bytes: Uint8Array): void {
    const part = this.failNext ? bytes.subarray(0, Math.floor(this.random() * bytes.length)) : bytes;
    this.unsynced = Buffer.concat([this.unsynced, part]);
    if (this.failNext === 'ENOSPC') throw new DiskError('ENOSPC');
  }

  sync(): void {
    if (this.failNext) throw new DiskError('EIO');
    this.tail.push(this.unsynced);
    this.tailBytes += this.unsynced.length;
    this.unsynced = Buffer.alloc(0);
  }

  /** The machine stops: any part of what was not synced is there afterwards. */
  crash(): void {
    const kept = Math.floor(this.random() * (this.unsynced.length + 1));
    this.tail.push(this.unsynced.subarray(0, kept));
    this.tailBytes += kept;
    this.unsynced = Buffer.alloc(0);
    this.failNext = undefined;
  }

  /** Flips one bit of the bytes from `position` on. */
  flipBit(position: number): void {
    this.settle();
    const at = position + Math.floor(this.random() * (this.durable.length - position));
    this.durable[at]! ^= 1 << Math.floor(this.random() * 8);
  }

  truncate(bytes: number): void {
    this.settle();
    this.durable = this.durable.subarray(0, bytes);
  }

  read(): Buffer {
    this.settle();
    return Buffer.from(this.durable);
  }

  private settle(): void {
    this.durable = Buffer.concat([this.durable, ...this.tail]);
    this.tail = [];
    this.tailBytes = 0;
  }
}

export class DiskError extends Error {}
