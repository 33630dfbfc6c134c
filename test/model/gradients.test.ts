/** Gradients by reverse mode beside slopes by forward mode, for every family. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { roundKey, seedKey } from '../../kernels/random-keys.ts';
import { referenceBackend } from '../../kernels/reference.ts';
import type { ForwardAdapter } from '../../model/runtime/adapter-feeds.ts';
import type { ForwardOptions } from '../../model/runtime/forward.ts';
import { packRows } from '../../model/runtime/packing.ts';
import { keepsRows, planGradient, planLosses } from '../../model/runtime/tiles.ts';
import { completionRow, type TokenRow } from '../../model/token-row.ts';
import { directionsOf, openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';

const DIRECTIONS = 8;
const KEY = roundKey(seedKey(11), 0, 0);
/** Of projected gradients, relative to their rms: float32 sums in another order leave 3e-7 … 3e-6. */
const ERROR = 1e-5;

type Opened = ReturnType<typeof openGolden>;

/** g of the first directions by forward mode. */
async function byForwardMode(
  { model }: Pick<Opened, 'model'>,
  adapter: ForwardAdapter,
  rows: TokenRow[],
  theta: Float32Array,
) {
  const { layout } = adapter;
  const z = await directionsOf(layout, KEY, DIRECTIONS);
  const [slopes, losses] = await withForward(model, adapter, { tangents: 'float32' }, async (forward) => {
    return [await forward.slopes(rows, theta, z), await forward.losses(rows, 1, theta)] as const;
  });
  const ofDirection = (k: number): Float64Array => slopes.subarray(k * rows.length, (k + 1) * rows.length);
  const g = Array.from({ length: DIRECTIONS }, (_, k) => ofDirection(k).reduce((sum, x) => sum + x, 0) / rows.length);
  return { g, losses };
}

async function byReverseMode(
  { model }: Pick<Opened, 'model'>,
  adapter: ForwardAdapter,
  rows: TokenRow[],
  theta: Float32Array,
  more: Partial<ForwardOptions> = {},
) {
  const [gradient, losses] = await withForward(model, adapter, { ...more, gradients: true }, async (forward) => {
    return [await forward.gradient(rows, theta), await forward.losses(rows, 1, theta)] as const;
  });
  return { g: [...(await referenceBackend.project(gradient, KEY, 0, DIRECTIONS, 1))], gradient, losses };
}

const rms = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length);

/** Fails where an element is further from what is expected than `error` of all their rms. */
function assertNear(got: ArrayLike<number>, expected: ArrayLike<number>, error: number): void {
  const size = rms(expected);
  assert(size > 0.01, `rms ${size}: there is something to compare`);
  Array.from(expected).forEach((value, i) => {
    assert(Math.abs(got[i]! - value) <= error * size, `${i}: ${got[i]}, expected ${value}, of rms ${size}`);
  });
}

describe('the gradient of', () => {
  for (const folder of ['models', 'variations'] as const)
    for (const name of goldenModels(folder))
      it(`${name} has the slopes of forward mode along directions`, async () => {
        const { rows, theta, ...opened } = openGolden(join(goldenFiles, folder, name));
        const expected = await byForwardMode(opened, opened, rows, theta);
        const got = await byReverseMode(opened, opened, rows, theta);
        assertNear(got.g, expected.g, ERROR);
        assertNear(got.losses, expected.losses, ERROR);
      });
});

describe('the gradient that PyTorch finds', () => {
  // python test/golden/make/gradients.py test/golden > test/golden/gradients.json
  const expectedOf: { [model: string]: { [module: string]: { [matrix: string]: { norm: number; first: number[] } } } } =
    JSON.parse(readFileSync(join(goldenFiles, 'gradients.json'), 'utf8'));
  for (const [name, expected] of Object.entries(expectedOf))
    it(`is ours: ${name}`, async () => {
      const opened = openGolden(join(goldenFiles, name));
      const { gradient } = await byReverseMode(opened, opened, opened.rows, opened.theta);
      for (const { module, matrix, offset, elements } of opened.layout.tensors) {
        const { norm, first } = expected[opened.layout.modules[module]!.name]![matrix]!;
        const got = gradient.subarray(offset, offset + elements);
        const error = (value: number, other: number): number => Math.abs(value - other) / norm;
        // Both are sums in float32, of other orders.
        assert(error(Math.hypot(...got), norm) < ERROR, `${module} ${matrix}: norm ${Math.hypot(...got)}, ${norm}`);
        first.forEach((value, i) => {
          assert(error(got[i]!, value) < ERROR, `${module} ${matrix}: element ${i} is ${got[i]}, expected ${value}`);
        });
      }
    });
});

describe('a gradient', () => {
  const llama = openGolden(join(goldenFiles, 'models', 'llama'));

  it('adds up what rows that begin alike say of the tokens they share', async () => {
    const prompt = [5, 9, 17, 9, 30, 2, 11];
    const rows = [[3, 4], [3, 8, 6], [3, 4], [21]].map((ids) => completionRow([...prompt, ...ids], 7));
    const { ids, copies } = {
      ...packRows(rows, llama.model.architecture).feeds,
      ...packRows(rows, llama.model.architecture).transposes(),
    };
    assert(ids!.dims[1]! < 12 && copies!.dims[0]! > 20, 'most tokens are shared');
    const expected = await byForwardMode(llama, llama, rows, llama.theta);
    assertNear((await byReverseMode(llama, llama, rows, llama.theta)).g, expected.g, ERROR);
  });

  it('is the same in parts, and with activations made again', async () => {
    const { architecture } = llama.model;
    const whole = await byReverseMode(llama, llama, llama.rows, llama.theta);
    const kept = 150_000;
    const plans = [kept, 1].map((limit) => planGradient(architecture, llama.rows, limit));
    assert(plans[0]!.length > 1 && plans[0]!.every(({ remake }) => !remake), 'several parts, kept');
    assert(
      plans[1]!.every(({ remake }) => remake),
      'made again',
    );
    for (const maxActivationElements of [kept, 1]) {
      const parts = await byReverseMode(llama, llama, llama.rows, llama.theta, { maxActivationElements });
      assertNear(parts.gradient, whole.gradient, ERROR);
      assertNear(parts.losses, whole.losses, ERROR);
    }
  });

  it('of a run that trains B alone is that of B', async () => {
    const onlyB = adapterLayout(llama.layout.modules, 'B');
    const both = (await byReverseMode(llama, llama, llama.rows, llama.theta)).gradient;
    const part = (values: Float32Array, wanted: 'A' | 'B'): Float32Array =>
      Float32Array.from(
        llama.layout.tensors
          .filter(({ matrix }) => matrix === wanted)
          .flatMap(({ offset, elements }) => [...values.subarray(offset, offset + elements)]),
      );
    const adapter = { layout: onlyB, frozenA: part(llama.theta, 'A') };
    const got = await byReverseMode(llama, adapter, llama.rows, part(llama.theta, 'B'));
    assertNear(got.gradient, part(both, 'B'), ERROR);
  });

  it('goes back no further than the first trained matrix', async () => {
    const { modules } = llama.layout;
    const few = adapterLayout(modules.slice(-2));
    const theta = Float32Array.from({ length: few.elements }, (_, i) => ((i * 37) % 19) / 100 - 0.09);
    const expected = await byForwardMode(llama, { layout: few }, llama.rows, theta);
    assertNear((await byReverseMode(llama, { layout: few }, llama.rows, theta)).g, expected.g, ERROR);
  });
});

it('activations of short rows are kept, those of very long ones made again', () => {
  const { architecture } = openGolden(join(goldenFiles, 'models', 'llama')).model;
  assert(keepsRows(architecture, 64));
  assert(!keepsRows(architecture, 100_000));
});

it('losses count the logits of a label twice, as they are there beside their softmax', () => {
  const { architecture } = openGolden(join(goldenFiles, 'models', 'llama')).model;
  const vocabularySize = 2 ** 20;
  const rows = Array.from({ length: 4 }, () => completionRow([1, 2, 3], 1));
  const tiles = planLosses({ ...architecture, vocabularySize }, rows, 10 * vocabularySize);
  assert.deepEqual(tiles, [
    [0, 1],
    [2, 3],
  ]);
});
