/** Digests of large files, remembered between runs in the user's cache directory by path, size and modification time. */
import { createHash } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../platform/read-json-file.ts';
import { replaceFile } from '../platform/replace-file.ts';

/** A file of digests is no longer; a tensor takes some 150. */
const MAX_ENTRY_BYTES = 2 ** 26;

/** Where derived files may be kept and lost again: `$XDG_CACHE_HOME/onebyte`, or `~/.cache/onebyte`. */
export function cacheDirectory(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base !== undefined && base !== '' ? base : join(homedir(), '.cache'), 'onebyte');
}

type Digests = Readonly<Record<string, string>>;

/** What `compute` gives for `file`, from the cache where the file has not changed. A cache that cannot be used is no error. */
export async function cachedDigest(file: string, compute: () => Promise<Digests>): Promise<Digests> {
  const { size, mtimeNs } = statSync(file, { bigint: true });
  const stamp = `${file}\n${size}\n${mtimeNs}`;
  const name = `tensors-${createHash('sha256').update(file).digest('hex')}.json`;
  const entry = join(cacheDirectory(), 'digests', name);
  const cached = readEntry(entry);
  if (cached?.stamp === stamp) return cached.digests;
  const digests = await compute();
  try {
    replaceFile(entry, (made) => writeFileSync(made, JSON.stringify({ stamp, digests })));
  } catch {
    // A read-only home costs the time of hashing again, nothing else.
  }
  return digests;
}

const Entry = z.object({ stamp: z.string(), digests: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)) });

function readEntry(path: string): z.infer<typeof Entry> | undefined {
  try {
    return Entry.parse(readJsonFile(path, MAX_ENTRY_BYTES));
  } catch {
    return undefined;
  }
}
