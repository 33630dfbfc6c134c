/** The Hugging Face cache of this machine, laid out as huggingface_hub lays it out, so that both find each other's files. */
import { existsSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { readJsonFile } from '../../platform/read-json-file.ts';
import { readRegular } from '../../platform/regular-file.ts';
import { replaceFile } from '../../platform/replace-file.ts';
import { OperatingError } from '../../proto/operating-error.ts';

/** A file that holds a token or the name of a commit is no longer. */
const MAX_TEXT_BYTES = 2 ** 16;
const MAX_INDEX_BYTES = 2 ** 26;

/** What the environment says about the Hub. */
export interface HubSettings {
  readonly cacheDirectory: string;
  readonly token: string | undefined;
  /** Undefined: the public one. */
  readonly endpoint: string | undefined;
  readonly offline: boolean;
  /** The variable that names an HTTP proxy, where Node.js is not told to go through it, or too old to. */
  readonly unusedProxy: string | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** A model of the Hub. */
export interface HubModel {
  /** `org/name` */
  readonly name: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

/** Reads HF_HOME, HF_HUB_CACHE, HF_TOKEN (or the token that `hf auth login` left), HF_ENDPOINT, HF_HUB_OFFLINE and the proxy's. */
export function hubSettings(environment: Environment): HubSettings {
  const given = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const home = given('HF_HOME') ?? join(given('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  return {
    cacheDirectory: given('HF_HUB_CACHE') ?? given('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    token:
      given('HF_TOKEN') ?? given('HUGGING_FACE_HUB_TOKEN') ?? savedToken(given('HF_TOKEN_PATH') ?? join(home, 'token')),
    endpoint: given('HF_ENDPOINT')?.replace(/\/+$/, ''),
    offline: /^(1|on|yes|true)$/i.test(given('HF_HUB_OFFLINE') ?? given('TRANSFORMERS_OFFLINE') ?? ''),
    unusedProxy:
      environment.NODE_USE_ENV_PROXY === '1' && process.allowedNodeEnvironmentFlags.has('--use-env-proxy')
        ? undefined
        : ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'].find((name) => given(name) !== undefined),
  };
}

function savedToken(file: string): string | undefined {
  return existsSync(file) ? readRegular(file, MAX_TEXT_BYTES).toString().trim() || undefined : undefined;
}

/** The name on the Hub of the model in a cache directory; undefined: `directory` is no snapshot of a cache. */
export function hubNameOf(directory: string): string | undefined {
  const found = /[\\/]models--([\w.-]+?)--([\w.-]+)[\\/]snapshots[\\/][0-9a-f]{40}[\\/]?$/.exec(directory);
  return found ? `${found[1]}/${found[2]}` : undefined;
}

/** Where the cache keeps one model. */
export class ModelCache {
  readonly directory: string;
  private readonly model: HubModel;

  constructor(cacheDirectory: string, model: HubModel) {
    this.directory = join(cacheDirectory, `models--${model.name.replace('/', '--')}`);
    this.model = model;
  }

  /** The data of a file by its digest. */
  blob(etag: string): string {
    return join(this.directory, 'blobs', etag);
  }

  snapshot(commit: string): string {
    return join(this.directory, 'snapshots', commit);
  }

  /** The snapshot that the revision named when it was last asked for, where it holds a whole model. */
  wholeSnapshot(): string | undefined {
    const reference = join(this.directory, 'refs', this.model.revision);
    const commit = existsSync(reference)
      ? readRegular(reference, MAX_TEXT_BYTES).toString().trim()
      : this.model.revision;
    if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
    const snapshot = this.snapshot(commit);
    return isWhole(snapshot) ? snapshot : undefined;
  }

  /** Notes which commit the revision names. */
  setReference(commit: string): void {
    if (commit === this.model.revision) return;
    replaceFile(join(this.directory, 'refs', this.model.revision), (made) => writeFileSync(made, commit));
  }

  /** Makes `name` in the snapshot of `commit` a link to the blob `etag`. */
  link(commit: string, name: string, etag: string): void {
    const pointer = join(this.snapshot(commit), name);
    replaceFile(pointer, (made) => symlinkSync(relative(dirname(pointer), this.blob(etag)), made));
  }
}

/** Whether `file` is there with `bytes` bytes. */
export const hasBytes = (file: string, bytes: number): boolean => existsSync(file) && statSync(file).size === bytes;

/** Whether config, tokenizer and all weights are there: interrupted downloads leave snapshots without some. */
function isWhole(snapshot: string): boolean {
  const has = (name: string): boolean => existsSync(join(snapshot, name));
  if (!has('config.json') || !has('tokenizer.json')) return false;
  if (has('model.safetensors')) return true;
  if (!has('model.safetensors.index.json')) return false;
  const shards = Object.values(weightMap(join(snapshot, 'model.safetensors.index.json')));
  return shards.length > 0 && shards.every((shard) => has(String(shard)));
}

function weightMap(file: string): object {
  try {
    const index: unknown = readJsonFile(file, MAX_INDEX_BYTES);
    const map = typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : undefined;
    return typeof map === 'object' && map !== null ? map : {};
  } catch (error) {
    if (error instanceof OperatingError) return {};
    throw error;
  }
}
