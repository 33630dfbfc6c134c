/**
 * A Hugging Face directory, opened: its description, and where each of its tensors lies. No tensor data is read here.
 *
 * The room model/ turns such a directory into losses, slopes and gradients of token rows. It knows no run, no worker and no file of rows.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, realpathSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import { FLOAT_DTYPES, isFloatDtype } from '../formats/float-formats.ts';
import { ADAPTER_FILE } from '../formats/peft-adapter.ts';
import { openSafetensors, type StoredTensor } from '../formats/safetensors.ts';
import { openRegular } from '../platform/regular-file.ts';
import { usageError } from '../proto/operating-error.ts';
import { type Architecture, adaptableLinears, type Linear, requiredTensors } from './architecture.ts';
import { type ConfigFields, readConfig } from './config-fields.ts';
import { describeModel } from './families/supported.ts';
import { cachedDigest } from './file-digest.ts';

/** A tensor of the model: `bytes` bytes at `offset` of `file`. */
export interface WeightTensor extends StoredTensor {
  readonly name: string;
  /** With symbolic links resolved. */
  readonly file: string;
}

export interface BaseModel {
  readonly directory: string;
  readonly vocabularySize: number;
  /** Longest row, in tokens. */
  readonly maxPositions: number;
  /** Every layer that LoRA may adapt, in θ's order. `name` is PEFT's: `model.layers.0.self_attn.q_proj`. */
  readonly linearModules: readonly Linear[];
  /** Whether PEFT writes `fan_in_fan_out: true` for this family. */
  readonly fanInFanOut: boolean;
  readonly architecture: Architecture;
  /** By the name in the description: all that it requires, and the head (which is the embedding where tied). */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** All tensors of the files, by their own names. */
  readonly stored: ReadonlyMap<string, WeightTensor>;
}

/**
 * Reads config.json and the safetensors headers, and checks names, shapes and dtypes.
 * @throws OperatingError (usage) that names file, field or tensor, got and expected
 */
export function openBaseModel(directory: string): BaseModel {
  if (!existsSync(directory)) throw usageError(`${directory}: no such model directory`);
  if (existsSync(join(directory, ADAPTER_FILE)))
    throw usageError(
      `${directory}: a model with an adapter within (${ADAPTER_FILE}), which transformers applies when it loads the model; move the adapter into a directory of its own, and give that`,
    );
  const architecture = describeModel(readConfig(join(directory, 'config.json')));
  const stored = openTensors(directory);
  const weights = new Map<string, WeightTensor>();
  const { embedding, head, vocabularySize } = architecture;
  const required = requiredTensors(architecture).set(head.name, [vocabularySize, embedding.size]);
  const tied = new Map(
    head.tied ? [[head.name, embedding.tokens] as const, [embedding.tokens, head.name] as const] : [],
  );
  for (const [name, shape] of required) {
    const tensor = find(stored, name, architecture.prefix) ?? find(stored, tied.get(name), architecture.prefix);
    weights.set(name, checkTensor(directory, name, shape, tensor));
  }
  return {
    directory,
    vocabularySize,
    maxPositions: architecture.maxPositions,
    linearModules: adaptableLinears(architecture),
    fanInFanOut: architecture.fanInFanOut,
    architecture,
    weights,
    stored,
  };
}

/** A model saved without its head leaves the prefix out. */
function find(
  stored: ReadonlyMap<string, WeightTensor>,
  name: string | undefined,
  prefix: string,
): WeightTensor | undefined {
  if (name === undefined) return undefined;
  const [whole, bare] = [stored.get(name), name.startsWith(prefix) ? stored.get(name.slice(prefix.length)) : undefined];
  if (whole !== undefined && bare !== undefined && whole !== bare)
    throw usageError(`${bare.file}: tensor ${bare.name} is also stored as ${whole.name}; remove one of them`);
  return whole ?? bare;
}

function checkTensor(
  directory: string,
  name: string,
  shape: readonly number[],
  tensor: WeightTensor | undefined,
): WeightTensor {
  if (tensor === undefined) throw usageError(`${directory}: tensor ${name} ${JSON.stringify(shape)} is missing`);
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i]))
    throw usageError(
      `${tensor.file}: tensor ${tensor.name} has shape ${JSON.stringify(tensor.shape)}, expected ${JSON.stringify(shape)} from config.json`,
    );
  if (!isFloatDtype(tensor.dtype))
    throw usageError(
      `${tensor.file}: tensor ${tensor.name} has dtype ${tensor.dtype}, expected one of ${FLOAT_DTYPES.join(', ')}`,
    );
  return tensor;
}

/** All tensors: of `model.safetensors`, or of the shards that the index names. */
function openTensors(directory: string): Map<string, WeightTensor> {
  const single = join(directory, 'model.safetensors');
  const index = join(directory, 'model.safetensors.index.json');
  const stored = new Map<string, WeightTensor>();
  if (existsSync(single)) {
    addFile(stored, single);
    return stored;
  }
  if (!existsSync(index))
    throw usageError(
      `${directory}: neither model.safetensors nor model.safetensors.index.json is there (other formats are not supported)`,
    );
  const map = indexOf(index);
  for (const shard of new Set(map.values())) {
    if (isAbsolute(shard) || normalize(shard).startsWith('..'))
      throw usageError(`${index}: weight_map names ${JSON.stringify(shard)}, expected a file in the same directory`);
    addFile(stored, join(directory, shard));
  }
  for (const [name, shard] of map)
    if (!stored.has(name)) throw usageError(`${join(directory, shard)}: tensor ${name} is missing, ${index} names it`);
  return stored;
}

function indexOf(file: string): Map<string, string> {
  const config: ConfigFields = readConfig(file);
  const fields = config.object('weight_map');
  if (fields === undefined) throw config.refuse('weight_map', 'an object of tensor names and file names');
  return new Map(fields.names().map((name) => [name, fields.text(name)]));
}

function addFile(stored: Map<string, WeightTensor>, path: string): void {
  const { tensors } = openSafetensors(path);
  const file = realpathSync(path);
  for (const [name, tensor] of tensors) {
    if (stored.has(name)) throw usageError(`${path}: tensor ${name} is also in ${stored.get(name)?.file}`);
    stored.set(name, { ...tensor, name, file });
  }
}

/**
 * What two machines compare to know that they hold the same base model: sha-256 (hex) over the sorted (name, dtype, shape,
 * sha-256 of data) of all tensors, and tokenizer.json. Digests of tensors are cached by path, size and mtime.
 */
export async function fingerprintBaseModel(model: BaseModel): Promise<string> {
  const hash = createHash('sha256');
  const files = new Map<string, WeightTensor[]>();
  for (const tensor of model.stored.values()) {
    const tensors = files.get(tensor.file) ?? [];
    tensors.push(tensor);
    files.set(tensor.file, tensors);
  }
  const lines: string[] = [];
  for (const [file, tensors] of files) {
    const digests = await cachedDigest(file, async () => {
      const digest: Record<string, string> = {};
      for (const tensor of tensors) digest[tensor.name] = await dataDigest(tensor);
      return digest;
    });
    for (const { name, dtype, shape } of tensors) lines.push(JSON.stringify([name, dtype, shape, digests[name]]));
  }
  for (const line of lines.sort()) hash.update(`${line}\n`);
  const tokenizer = join(model.directory, 'tokenizer.json');
  if (existsSync(tokenizer))
    for await (const chunk of createReadStream(tokenizer, { fd: openRegular(tokenizer) })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function dataDigest({ file, offset, bytes }: WeightTensor): Promise<string> {
  const hash = createHash('sha256');
  if (bytes > 0)
    for await (const chunk of createReadStream(file, {
      start: offset,
      end: offset + bytes - 1,
      highWaterMark: 2 ** 20,
    }))
      hash.update(chunk as Buffer);
  return hash.digest('hex');
}
