/** A LoRA adapter as a PEFT directory: adapter_config.json and adapter_model.safetensors. */
import { strict as assert } from 'node:assert';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AdapterDescription, type AdapterModule, adapterElements, type LinearModule } from '../proto/adapter.ts';
import { usageError } from '../proto/operating-error.ts';
import { peftConfig, readPeftConfig } from './peft-config.ts';
import { openSafetensors, type Safetensors } from './safetensors.ts';
import { readFloat32 } from './safetensors-data.ts';
import { float32Tensor, writeSafetensors } from './safetensors-writer.ts';

export const ADAPTER_FILE = 'adapter_config.json';
const WEIGHTS_FILE = 'adapter_model.safetensors';

/** An adapter and its numbers. */
export interface PeftAdapter {
  readonly description: AdapterDescription;
  /** Per module A `[rank, fanIn]`, then B `[fanOut, rank]`, row-major, modules in the description's order. */
  readonly matrices: Float32Array;
}

interface StoredMatrix {
  readonly name: string;
  readonly shape: readonly [rows: number, columns: number];
  /** Elements. */
  readonly offset: number;
}

/**
 * Writes both files into `directory`, which exists, and syncs them; the caller syncs and renames the directory.
 * `PeftModel.from_pretrained(base, directory)` loads it unchanged.
 * @param matrices as PeftAdapter's; only read
 */
export function writePeftAdapter(directory: string, description: AdapterDescription, matrices: Float32Array): void {
  assert.equal(matrices.length, adapterElements(description.modules), 'elements of the adapter');
  const tensors = storedMatrices(description.modules).map(({ name, shape, offset }) =>
    float32Tensor(name, shape, matrices.subarray(offset, offset + shape[0] * shape[1])),
  );
  writeSafetensors(join(directory, WEIGHTS_FILE), tensors, { format: 'pt' });
  const text = `${JSON.stringify(peftConfig(description), null, 2)}\n`;
  writeFileSync(join(directory, ADAPTER_FILE), text, { flag: 'wx', flush: true });
}

/**
 * Reads a PEFT directory for a base model. The caller owns the matrices; float16 and bfloat16 are widened.
 * @param linearModules the base model's, in θ's order
 * @param warn hears what is passed over; default: standard error
 * @throws OperatingError (usage) that names the file and the field or tensor that is missing, unexpected or not usable
 */
export function readPeftAdapter(
  directory: string,
  linearModules: readonly LinearModule[],
  warn: (message: string) => void = toStandardError,
): PeftAdapter {
  const description = readPeftConfig(join(directory, ADAPTER_FILE), linearModules, warn);
  const file = join(directory, WEIGHTS_FILE);
  if (!existsSync(file) && existsSync(join(directory, 'adapter_model.bin')))
    throw usageError(`${directory}: has adapter_model.bin only; save the adapter with safetensors`);
  const stored = withoutAdapterNames(openSafetensors(file));
  const expected = storedMatrices(description.modules);
  checkNames(stored, expected);
  // Shapes are compared before anything is allocated, so that the file bounds what a config may ask for.
  for (const { name, shape } of expected) checkShape(stored, name, shape);
  const matrices = new Float32Array(adapterElements(description.modules));
  for (const { name, offset } of expected) {
    const tensor = stored.tensors.get(name);
    assert(tensor !== undefined);
    const values = readFloat32(stored, name, tensor);
    if (!values.every(Number.isFinite)) throw usageError(`${file}: tensor ${name} has elements that are not finite`);
    matrices.set(values, offset);
  }
  return { description, matrices };
}

/** A state dict of PEFT's default adapter, saved as it is, names the adapter in each tensor; PEFT loads that too. */
const withoutAdapterNames = ({ tensors, ...stored }: Safetensors): Safetensors => ({
  ...stored,
  tensors: new Map(
    [...tensors].map(([name, tensor]) => [name.replace(/\.(lora_[AB])\.default\.weight$/, '.$1.weight'), tensor]),
  ),
});

const toStandardError = (message: string): void => void process.stderr.write(`${message}\n`);

function storedMatrices(modules: readonly AdapterModule[]): StoredMatrix[] {
  let offset = 0;
  return modules.flatMap(({ name, rank, fanIn, fanOut }) => {
    const a: StoredMatrix = { name: `base_model.model.${name}.lora_A.weight`, shape: [rank, fanIn], offset };
    const b: StoredMatrix = {
      name: `base_model.model.${name}.lora_B.weight`,
      shape: [fanOut, rank],
      offset: offset + rank * fanIn,
    };
    offset += rank * (fanIn + fanOut);
    return [a, b];
  });
}

function checkNames({ file, tensors }: Safetensors, expected: readonly StoredMatrix[]): void {
  const wanted = new Set(expected.map(({ name }) => name));
  const missing = expected.filter(({ name }) => !tensors.has(name)).map(({ name }) => name);
  const unexpected = [...tensors.keys()].filter((name) => !wanted.has(name));
  if (missing.length > 0)
    throw usageError(
      `${file}: ${missing.length} tensors that ${ADAPTER_FILE} and the base model ask for are missing: ${some(missing)}` +
        (unexpected.length > 0 ? `; not expected: ${some(unexpected)}` : ''),
    );
  if (unexpected.length > 0)
    throw usageError(
      `${file}: ${unexpected.length} tensors are of no adapted linear layer: ${some(unexpected)}; ` +
        'of a model, its linear layers but the head can be adapted: no embedding, head, norm or expert',
    );
}

function checkShape({ file, tensors }: Safetensors, name: string, expected: readonly number[]): void {
  const shape = tensors.get(name)?.shape ?? [];
  if (shape.length !== 2 || shape[0] !== expected[0] || shape[1] !== expected[1])
    throw usageError(`${file}: tensor ${name} is [${shape.join(', ')}], expected [${expected.join(', ')}]`);
}

const some = (names: readonly string[]): string => names.slice(0, 4).join(', ') + (names.length > 4 ? ', …' : '');
