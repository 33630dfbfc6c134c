/** One file of the Hub into the cache: resumed where it was interrupted, retried, and believed only when its digest is right. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, renameSync, rmSync, statSync, utimes, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeDirectories, syncPath } from '../../platform/make-directories.ts';
import { usageError } from '../../proto/operating-error.ts';

/** A file to fetch. */
export interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
  /** sha-256 of the data (64 hex digits), or the Git blob id (40). */
  readonly etag: string;
  /** The data from byte `start` on. */
  readonly open: (start: number) => Promise<ReadableStream<Uint8Array>>;
}

export interface DownloadOptions {
  /** Called as bytes arrive, those of earlier attempts included. */
  readonly onBytes: (bytes: number) => void;
  /** Waits between attempts, ms; its length is the number of retries. An attempt that got bytes begins the list anew. */
  readonly retryMs: readonly number[];
  readonly signal: AbortSignal | undefined;
}

/** Between two looks at another process's lock, ms. */
const LOCK_POLL_MS = 200;
/** Between two signs of life of a lock's owner, and how long without one it counts as dead, ms. */
const LOCK_BEAT_MS = 5_000;
const LOCK_STALE_MS = 60_000;

/**
 * Makes `blob` hold the data of `file`. Another process that fetches the same is waited for.
 * @throws OperatingError (usage) where the data is not what its digest says; the last attempt's error; the signal's reason
 */
export async function downloadBlob(file: RemoteFile, blob: string, options: DownloadOptions): Promise<void> {
  makeDirectories(dirname(blob));
  const release = await lock(`${blob}.lock`, options.signal);
  try {
    if (existsSync(blob) && statSync(blob).size === file.bytes) return;
    const incomplete = `${blob}.incomplete`;
    await fetchRest(file, incomplete, options);
    if ((await digest(incomplete, file)) !== file.etag) {
      rmSync(incomplete);
      throw usageError(
        `${file.name}: what was downloaded does not have the digest ${file.etag}; it was removed, try again`,
      );
    }
    syncPath(incomplete);
    renameSync(incomplete, blob);
  } finally {
    release();
  }
}

async function fetchRest(
  file: RemoteFile,
  incomplete: string,
  { onBytes, retryMs, signal }: DownloadOptions,
): Promise<void> {
  const size = (): number => (existsSync(incomplete) ? statSync(incomplete).size : 0);
  if (size() > file.bytes) rmSync(incomplete);
  for (let attempt = 0; ; attempt++) {
    const start = size();
    onBytes(start);
    try {
      if (start < file.bytes) await append(await file.open(start), incomplete, start, onBytes);
      if (size() === file.bytes) return;
      throw new Error(`${file.name}: ${size()} of ${file.bytes} bytes came`);
    } catch (error) {
      signal?.throwIfAborted();
      if (size() > start) attempt = 0;
      const wait = retryMs[attempt];
      if (wait === undefined || size() > file.bytes) throw error;
      await delay(wait, undefined, { signal });
    }
  }
}

/** Returns or throws only when nothing is being written any more: the next attempt goes on at the file's size. */
async function append(
  stream: ReadableStream<Uint8Array>,
  incomplete: string,
  start: number,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const file = await open(incomplete, 'a');
  try {
    let bytes = start;
    for await (const chunk of stream) {
      await file.writeFile(chunk);
      bytes += chunk.length;
      onBytes(bytes);
    }
  } finally {
    await file.close();
  }
}

/** In the form of `file.etag`. */
async function digest(path: string, { bytes, etag }: RemoteFile): Promise<string> {
  const hash = etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/**
 * Takes the lock `path`; its owner touches it as long as it lives, and one that was not touched for a minute is taken over. Not by
 * process id: in containers that share a cache all owners may have the same.
 */
async function lock(path: string, signal: AbortSignal | undefined): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(path, '', { flag: 'wx' });
      const beat = setInterval(() => utimes(path, new Date(), new Date(), () => {}), LOCK_BEAT_MS).unref();
      return () => {
        clearInterval(beat);
        rmSync(path, { force: true });
      };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const touchedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - touchedMs > LOCK_STALE_MS) rmSync(path, { force: true });
    else await delay(LOCK_POLL_MS, undefined, { signal });
  }
}
