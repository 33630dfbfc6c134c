/** Many rows and many adapters in one pass: the same numbers as each row and each adapter alone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { adapterLayout, scratchOffset } from '../../../kernels/adapter-layout.ts';
import { type BaseModel, openBaseModel } from '../../../model/base-model.ts';
import { createForward } from '../../../model/runtime/forward.ts';
import { packRows } from '../../../model/runtime/packing.ts';
import { planTiles } from '../../../model/runtime/tiles.ts';
import { completionRow, type TokenRow } from '../../../model/token-row.ts';
import { onCpu, openGolden } from '../../support/golden-models.ts';
import { goldenFiles } from '../../support/onebyte.ts';

const models = join(goldenFiles, 'models');
const llama = openBaseModel(join(models, 'llama'));

// The order of float32 sums may differ with the shape of a product; the losses are near 30 nats.
const TOLERANCE = 2e-5;

/** `adapters` different adapters on all layers, tensor-major. */
function adaptersOf(model: BaseModel, adapters: number) {
  const modules = model.linearModules.map(({ name, fanIn, fanOut }, i) => ({
    name,
    fanIn,
    fanOut,
    rank: 1 + (i % 3),
    scale: 1.5,
  }));
  const layout = adapterLayout(modules);
  const scratch = Float32Array.from({ length: adapters * layout.elements }, (_, i) => Math.sin(i * 12.9898) * 0.3);
  const alone = (g: number): Float32Array => {
    const theta = new Float32Array(layout.elements);
    for (const tensor of layout.tensors) {
      const from = scratchOffset(tensor, adapters, g);
      theta.set(scratch.subarray(from, from + tensor.elements), tensor.offset);
    }
    return theta;
  };
  return { layout, scratch, alone };
}

const rowsOf = (name: string): TokenRow[] => openGolden(join(models, name)).rows;

function assertClose(got: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < got.length; i++)
    assert(Math.abs(got[i]! - expected[i]!) < TOLERANCE, `${i}: ${got[i]}, expected ${expected[i]}`);
}

describe('a batch of adapters', () => {
  for (const name of ['llama', 'gpt2', 'gemma3', 'phi3'])
    it(`gives what each adapter and each row gives alone (${name})`, async () => {
      const model = openBaseModel(join(models, name));
      const { layout, scratch, alone } = adaptersOf(model, 3);
      const rows = rowsOf(name);
      const forward = await createForward(model, { layout }, onCpu);
      const together = await forward.losses(rows, 3, scratch);
      for (const g of [0, 1, 2])
        for (const [i, row] of rows.entries()) {
          const [loss] = await forward.losses([row], 1, alone(g));
          assertClose([together[g * rows.length + i]!], [loss!]);
        }
      assert.notEqual(together[0], together[rows.length], 'the adapters differ');
      await forward.close();
    });

  it('may share A', async () => {
    const { layout, scratch } = adaptersOf(llama, 2);
    const rows = rowsOf('llama');
    const onlyB = adapterLayout(layout.modules, 'B');
    const frozenA = Float32Array.from({ length: layout.elements - onlyB.elements }, (_, i) => Math.cos(i) * 0.3);
    const shared = new Float32Array(2 * layout.elements);
    const b = new Float32Array(2 * onlyB.elements);
    let at = 0;
    for (const tensor of layout.tensors)
      for (const g of [0, 1]) {
        const from = scratchOffset(tensor, 2, g);
        if (tensor.matrix === 'A') {
          shared.set(frozenA.subarray(at, at + tensor.elements), from);
          if (g === 1) at += tensor.elements;
        } else {
          const values = scratch.subarray(from, from + tensor.elements);
          shared.set(values, from);
          b.set(values, scratchOffset(onlyB.tensors[tensor.module]!, 2, g));
        }
      }
    const both = await createForward(llama, { layout }, onCpu);
    const frozen = await createForward(llama, { layout: onlyB, frozenA }, onCpu);
    assertClose(await frozen.losses(rows, 2, b), await both.losses(rows, 2, shared));
    await both.close();
    await frozen.close();
  });
});

describe('rows that begin alike', () => {
  const directories = [
    'models/llama',
    'models/opt',
    'models/gemma3',
    'variations/llama_dynamic',
    'variations/phi3_longrope',
  ];
  for (const directory of directories)
    it(`share their first tokens and give what each gives alone (${directory})`, async () => {
      const model = openBaseModel(join(goldenFiles, directory));
      const { layout, scratch } = adaptersOf(model, 1);
      const ids = Array.from({ length: 40 }, (_, i) => (7 * i + 3) % model.vocabularySize);
      const rows = [
        completionRow(ids, 38),
        completionRow([...ids.slice(0, 39), 1], 39),
        completionRow([...ids.slice(0, 12), 1, 2], 10),
        completionRow(ids.slice(0, 5), 4),
      ];
      const forward = await createForward(model, { layout }, onCpu);
      const together = await forward.losses(rows, 1, scratch);
      for (const [i, row] of rows.entries()) assertClose([together[i]!], await forward.losses([row], 1, scratch));
      await forward.close();
    });

  const tokensOf = (rows: TokenRow[], model: BaseModel): number => packRows(rows, model.architecture).feeds.ids!.size;
  const rows = [completionRow([5, 6, 7, 8], 3), completionRow([5, 6, 7, 9], 3), completionRow([5, 7, 7, 9, 9], 3)];
  it('are computed as far as they differ, and no token that is only predicted', () => {
    assert.equal(tokensOf(rows, llama), 3 + 3);
  });
  it('share nothing between lengths where positions turn by the length', () => {
    const model = openBaseModel(join(goldenFiles, 'variations/llama_dynamic'));
    assert.equal(tokensOf(rows, model), 3 + 4);
  });
});

describe('short rows', () => {
  it('lie behind one another in lines of the longest', () => {
    const row = (id: number, tokens: number): TokenRow => completionRow(new Array(tokens + 1).fill(id), 1);
    const { padding } = packRows([row(1, 3), row(2, 9), row(3, 4), row(4, 2)], llama.architecture).feeds;
    assert.deepEqual(padding!.dims, [2, 9]);
  });
});

describe('a pass that is too large for one run', () => {
  it('is cut over adapters first, then over rows of similar length, each row once', () => {
    const rows = [50, 10, 49, 11, 12].map((tokens) => completionRow(new Array(tokens).fill(1), 1));
    const whole = planTiles(llama.architecture, rows, 32, { limit: 2 ** 30 });
    assert.deepEqual(whole, { rows: [[0, 1, 2, 3, 4]], adapters: 32 });
    const fewer = planTiles(llama.architecture, rows, 32, { limit: 300_000 });
    assert.equal(fewer.rows.length, 1);
    assert(fewer.adapters > 1 && fewer.adapters < 32);
    const tiny = planTiles(llama.architecture, rows, 32, { limit: 30_000 });
    const large = planTiles(llama.architecture, rows, 32, { limit: 300_000, perAdapter: 290_000 });
    assert.deepEqual([large.rows.length, large.adapters], [1, 1]);
    assert.deepEqual(tiny, { rows: [[1, 3, 4], [2], [0]], adapters: 1 });
  });
  it('gives the same losses and logits', async () => {
    const { layout, scratch } = adaptersOf(llama, 3);
    const rows = rowsOf('llama');
    const forward = await createForward(llama, { layout }, onCpu);
    const tiled = await createForward(llama, { layout }, { ...onCpu, maxActivationElements: 30_000 });
    assertClose(await tiled.losses(rows, 3, scratch), await forward.losses(rows, 3, scratch));
    assertClose(await tiled.logits(rows, 3, scratch), await forward.logits(rows, 3, scratch));
    assert.equal(tiled.adaptersPerRun(rows, 3), 1);
    assert.equal(forward.adaptersPerRun(rows, 3), 3);
    await forward.close();
    await tiled.close();
  });
});

describe('a row', () => {
  it('is asserted to fit the model', async () => {
    const forward = await createForward(llama, undefined, onCpu);
    const losses = (ids: number[], first: number) => forward.losses([completionRow(ids, first)], 1);
    await assert.rejects(losses([1, 384], 1), /token id 384/);
    await assert.rejects(losses([1, 2], 2), /labels ascend/);
    await assert.rejects(losses([1, 2], 0), /labels ascend/);
    await assert.rejects(losses(new Array(llama.maxPositions + 1).fill(1), 1), /at most 256/);
    await forward.close();
  });
});

describe('the labels of a row', () => {
  it('may lie anywhere: loss, slope and gradient are those of each label, added up, and what follows is not read', async () => {
    const { layout, scratch } = adaptersOf(llama, 1);
    const forward = await createForward(llama, { layout }, { ...onCpu, tangents: 'float32' });
    const backward = await createForward(llama, { layout }, { ...onCpu, gradients: true });
    const ids = Array.from({ length: 30 }, (_, i) => (7 * i + 3) % llama.vocabularySize);
    const labels = [1, 2, 9, 17, 18];
    const each = labels.map((label) => ({ ids, labels: [label] }));
    const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((total, value) => total + value, 0);
    const direction = Float32Array.from({ length: layout.elements }, (_, i) => (i % 3 === 0 ? -1 : 1));
    assertClose(await forward.losses([{ ids, labels }], 1, scratch), [sum(await forward.losses(each, 1, scratch))]);
    assertClose(await forward.slopes([{ ids, labels }], scratch, direction), [
      sum(await forward.slopes(each, scratch, direction)),
    ]);
    // Of the mean over rows.
    const parts = await backward.gradient(each, scratch);
    assertClose(
      await backward.gradient([{ ids, labels }], scratch),
      parts.map((part) => part * labels.length),
    );
    assert.equal(packRows([{ ids, labels }], llama.architecture).feeds.ids!.size, 18);
    await forward.close();
    await backward.close();
  });
});
