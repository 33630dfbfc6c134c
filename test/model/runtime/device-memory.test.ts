/** A pass that a device's memory does not hold. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withinMemory } from '../../../model/runtime/device-memory.ts';

const refusal = 'Non-zero status code: bfc_arena.cc: Failed to allocate memory for requested buffer of size 734003200';

describe('a pass that memory does not hold', () => {
  it('is cut into halves until it fits', async () => {
    const tried: number[] = [];
    const { result, limit } = await withinMemory(1024, 64, async (elements) => {
      tried.push(elements);
      if (elements > 200) throw new Error(refusal);
      return 'done';
    });
    assert.deepEqual({ result, limit, tried }, { result: 'done', limit: 128, tried: [1024, 512, 256, 128] });
  });
  it('is an error of usage with the size and advice where the smallest does not fit', async () => {
    const refused = withinMemory(1024, 64, () => Promise.reject(new Error(refusal)));
    await assert.rejects(refused, { exitCode: 2, message: /a buffer of 700 MiB was refused .* worker.provider: cpu/ });
  });
  it('is not what another error means', async () => {
    const failing = withinMemory(1024, 64, () => Promise.reject(new Error('invalid input name')));
    await assert.rejects(failing, { message: 'invalid input name' });
  });
});
