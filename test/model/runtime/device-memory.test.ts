/** A pass that a device's memory does not hold. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ActivationRoom, activationsOf, holdingModel, withinMemory } from '../../../model/runtime/device-memory.ts';

const refusal = 'Non-zero status code: bfc_arena.cc: Failed to allocate memory for requested buffer of size 734003200';

describe('a pass that memory does not hold', () => {
  it('is cut into halves until it fits', async () => {
    const tried: number[] = [];
    const result = await withinMemory(1024, 64, async (elements) => {
      tried.push(elements);
      if (elements > 200) throw new Error(refusal);
      return 'done';
    });
    assert.deepEqual({ result, tried }, { result: 'done', tried: [1024, 512, 256, 128] });
  });
  it('is an error of usage with the size and advice where the smallest does not fit', async () => {
    const refused = withinMemory(1024, 64, () => Promise.reject(new Error(refusal)));
    await assert.rejects(refused, {
      exitCode: 2,
      message: /this pass in the smallest pieces: a buffer of 700 MiB was refused .* worker.provider: cpu/,
    });
  });
  it('is not what another error means', async () => {
    const failing = withinMemory(1024, 64, () => Promise.reject(new Error('invalid input name')));
    await assert.rejects(failing, { message: 'invalid input name' });
  });
});

describe('a model that memory does not hold', () => {
  it('is an error of usage with the size and advice, where its session is made', async () => {
    const created = holdingModel(() => Promise.reject(new Error(refusal)));
    await assert.rejects(created, {
      exitCode: 2,
      message: /does not hold the model: a buffer of 700 MiB was refused .* smaller model/,
    });
  });
  it('is not what another error means', async () => {
    const failing = holdingModel(() => Promise.reject(new Error('no such file')));
    await assert.rejects(failing, { message: 'no such file' });
  });
});

describe('the room of a pass', () => {
  it('stays as small as one pass needed it', async () => {
    const room = new ActivationRoom(undefined);
    const holds = (elements: number) => async (): Promise<number> => {
      if ((room.limit ?? 2 ** 20) > elements) throw new Error(refusal);
      return room.limit!;
    };
    assert.equal(await room.fitting(2 ** 20, holds(2 ** 18)), 2 ** 18);
    assert.equal(await room.fitting(2 ** 20, holds(2 ** 19)), 2 ** 18);
  });
  it('is what tiles say on the CPU, and some of the device elsewhere, known or not, below what kernels can count', () => {
    assert.equal(activationsOf({ provider: 'cpu' }), undefined);
    assert.equal(activationsOf({ provider: 'cuda' }), 2 ** 28);
    assert.equal(activationsOf({ provider: 'cuda', memory: 80 * 2 ** 30 }), 80 * 2 ** 25);
    assert.equal(activationsOf({ provider: 'cuda', memory: 2 ** 40 }), 2 ** 32);
  });
});
