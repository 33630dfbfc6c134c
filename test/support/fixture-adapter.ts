/** Reads a float32 PEFT adapter of a fixture as a layout and θ. Knows only what the fixtures use: one rank, one alpha. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '../../formats/safetensors.ts';
import { type AdapterLayout, adapterLayout } from '../../kernels/adapter-layout.ts';
import type { BaseModel } from '../../model/base-model.ts';

export function readFixtureAdapter(
  directory: string,
  model: BaseModel,
): { layout: AdapterLayout; theta: Float32Array } {
  const config = JSON.parse(readFileSync(join(directory, 'adapter_config.json'), 'utf8'));
  const file = join(directory, 'adapter_model.safetensors');
  const { tensors } = openSafetensors(file);
  const bytes = readFileSync(file);
  const modules = model.linearModules
    .filter(({ name }) => tensors.has(`base_model.model.${name}.lora_A.weight`))
    .map(({ name, fanIn, fanOut }) => ({ name, rank: config.r, fanIn, fanOut, scale: config.lora_alpha / config.r }));
  assert.equal(tensors.size, 2 * modules.length, 'every layer that PEFT adapted is one of the model');
  const layout = adapterLayout(modules);
  const theta = new Float32Array(layout.elements);
  for (const { module, matrix, offset, elements } of layout.tensors) {
    const stored = tensors.get(`base_model.model.${modules[module]!.name}.lora_${matrix}.weight`)!;
    for (let i = 0; i < elements; i++) theta[offset + i] = bytes.readFloatLE(stored.offset + 4 * i);
  }
  return { layout, theta };
}
