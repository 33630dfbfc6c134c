/** From what `--model` says to a model directory: a local one as it is, `org/name` through the Hugging Face cache. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { downloadFile, HubApiError, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { OperatingError, usageError } from '../../proto/operating-error.ts';
import { type Environment, type HubModel, type HubSettings, hasBytes, hubSettings, ModelCache } from './hub-cache.ts';
import { downloadBlob } from './hub-download.ts';

/** How far a download is. */
export interface DownloadProgress {
  readonly file: string;
  /** The size of all files together, those that were there already included. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface ResolveOptions {
  /** Default: the process's. */
  readonly environment?: Environment;
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Told in one sentence when the Hub cannot be reached and the cached model is taken. */
  readonly onNotice?: (notice: string) => void;
  readonly signal?: AbortSignal;
  /** Waits between attempts, ms. */
  readonly retryMs?: readonly number[];
}

const RETRY_MS = [1000, 2000, 4000, 8000, 16000];
const HUB_NAME = /^(?<name>[\w-][\w.-]{0,95}\/[\w-][\w.-]{0,95})(?:@(?<revision>[\w.-]{1,200}))?$/;
const WANTED =
  /^(config\.json|generation_config\.json|tokenizer[\w.-]*\.json|special_tokens_map\.json|(chat_template|additional_chat_templates\/[\w.-]+)\.jinja|model\.safetensors\.index\.json|model(-\d+-of-\d+)?\.safetensors)$/;

/**
 * The directory of the model `nameOrPath`: a directory that exists (the network is not touched), or `org/name`, with
 * `@revision` at will, downloaded into the usual cache unless it is there.
 * @throws OperatingError (usage) that says what is wrong and what to do; the signal's reason
 */
export async function resolveModel(nameOrPath: string, options: ResolveOptions = {}): Promise<string> {
  if (existsSync(nameOrPath)) {
    if (statSync(nameOrPath).isDirectory()) return nameOrPath;
    throw usageError(`model ${nameOrPath}: is a file, expected the directory that holds config.json and the weights`);
  }
  const { name, revision } = HUB_NAME.exec(nameOrPath)?.groups ?? {};
  if (name === undefined)
    throw usageError(`model ${nameOrPath}: no such directory, and not a name on the Hugging Face Hub (org/name)`);
  const settings = hubSettings(options.environment ?? process.env);
  const model = { name, revision: revision ?? 'main' };
  const cache = new ModelCache(settings.cacheDirectory, model);
  if (settings.offline) {
    const snapshot = cache.wholeSnapshot();
    if (snapshot !== undefined) return snapshot;
    throw usageError(
      `model ${nameOrPath}: HF_HUB_OFFLINE is set and ${settings.cacheDirectory} does not hold the whole model; download it first, or name a directory`,
    );
  }
  try {
    return await download(model, cache, settings, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof OperatingError) throw error;
    const snapshot = error instanceof HubApiError && error.statusCode < 500 ? undefined : cache.wholeSnapshot();
    const reason = explain(nameOrPath, settings, error);
    if (snapshot === undefined) throw usageError(reason, { cause: error });
    options.onNotice?.(`${reason}; the cached model is used`);
    return snapshot;
  }
}

async function download(
  model: HubModel,
  cache: ModelCache,
  settings: HubSettings,
  { onProgress, signal, retryMs = RETRY_MS }: ResolveOptions,
): Promise<string> {
  const access = {
    fetch: (url: string | URL | Request, init?: RequestInit) => fetch(url, { ...init, signal: signal ?? null }),
    ...(settings.endpoint === undefined ? {} : { hubUrl: settings.endpoint }),
    ...(settings.token === undefined ? {} : { accessToken: settings.token }),
  };
  const { sha: commit } = await modelInfo({ ...model, ...access, additionalFields: ['sha'] });
  if (!/^[0-9a-f]{40}$/.test(commit)) throw new Error(`the commit is ${JSON.stringify(commit)}`);
  const files = await wantedFiles(
    model.name,
    listFiles({ ...access, repo: model.name, revision: commit, recursive: true }),
  );
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const { path: file, size, lfs, oid } of files) {
    const etag = lfs?.oid ?? oid ?? '';
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag))
      throw new Error(`the digest of ${file} is ${JSON.stringify(etag)}`);
    const report = (bytes: number): void => onProgress?.({ file, bytes: before + bytes, totalBytes });
    if (!hasBytes(join(cache.snapshot(commit), file), size)) {
      const open = async (start: number): Promise<ReadableStream<Uint8Array>> => {
        const blob = await downloadFile({ ...access, repo: model.name, path: file, revision: commit, xet: false });
        if (blob === null) throw new Error(`${file} is not there any more`);
        return (start === 0 ? blob : blob.slice(start, size)).stream();
      };
      await downloadBlob({ name: `${model.name}/${file}`, bytes: size, etag, open }, cache.blob(etag), {
        onBytes: report,
        retryMs,
        signal,
      });
      cache.link(commit, file, etag);
    }
    report(size);
    before += size;
  }
  cache.setReference(commit);
  return cache.snapshot(commit);
}

/** What a model directory needs, small files first; the weights whole where they are, else in shards. */
async function wantedFiles(name: string, listed: AsyncIterable<ListFileEntry>): Promise<ListFileEntry[]> {
  const files: ListFileEntry[] = [];
  for await (const entry of listed) if (entry.type === 'file' && WANTED.test(entry.path)) files.push(entry);
  const has = (path: string): boolean => files.some((file) => file.path === path);
  const isWeights = (path: string): boolean => path.endsWith('.safetensors');
  if (!has('config.json')) throw usageError(`model ${name}: the repository has no config.json`);
  if (!files.some(({ path }) => isWeights(path)))
    throw usageError(`model ${name}: the repository has no model.safetensors; other weight formats are not read`);
  const wanted = has('model.safetensors')
    ? files.filter(({ path }) => !path.startsWith('model') || path === 'model.safetensors')
    : files;
  return wanted.sort((a, b) => a.size - b.size);
}

function explain(nameOrPath: string, { endpoint, token, unusedProxy }: HubSettings, error: unknown): string {
  const hub = endpoint ?? 'the Hugging Face Hub';
  const said = error instanceof Error ? error.message : String(error);
  if (!(error instanceof HubApiError)) {
    const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    const proxy = unusedProxy
      ? `. ${unusedProxy} is set, but downloads go through it with NODE_USE_ENV_PROXY=1 alone, on Node.js 22.21, 24.5 or newer (this is ${process.version}); Python's hf download fills the same cache`
      : '';
    return `model ${nameOrPath}: ${hub} cannot be used: ${said}${cause}; name a directory, or try again${proxy}`;
  }
  if (error.statusCode === 401 || error.statusCode === 403)
    return (
      `model ${nameOrPath}: ${hub} refuses it (${error.statusCode}): it does not exist, or is private, or its licence must be accepted there; ` +
      (token === undefined ? 'set HF_TOKEN to a token that may read it' : 'the token in HF_TOKEN may not read it')
    );
  if (error.statusCode === 404)
    return `model ${nameOrPath}: ${hub} has no such model or revision (404); check the name`;
  return `model ${nameOrPath}: ${hub} answers ${error.statusCode}: ${said}`;
}
