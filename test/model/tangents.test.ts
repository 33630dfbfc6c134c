/** Directional derivatives by forward-mode differentiation beside differences of the losses, for every family. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { addDirection } from '../../kernels/direction.ts';
import { initialAdapter } from '../../kernels/initial-adapter.ts';
import { roundKey, seedKey } from '../../kernels/random-keys.ts';
import { openBaseModel } from '../../model/base-model.ts';
import { hasExactInt8 } from '../../model/runtime/int8-support.ts';
import { loadTokenizer } from '../../model/tokenizer/tokenizer.ts';
import { directionsOf, openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles, goldenModels } from '../support/onebyte.ts';
import { skipWithoutSmollm2, smollm2Directory } from '../support/smollm2.ts';

/** An HF directory of SmolLM2-135M-Instruct, where there is one. */
const DIRECTIONS = 3;
const KEY = roundKey(seedKey(11), 0, 0);

/** θ + step·z of direction j. */
function moved(theta: Float32Array, j: number, step: number): Float32Array {
  const z = new Int32Array(theta.length);
  addDirection(z, 1, KEY, j, 1);
  return theta.map((x, i) => x + step * z[i]!);
}

const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));

function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

const STEP = 2 ** -12;
/** Of a loss in float32, relative: logits are sums of many terms. */
const ROUNDING = 12 * 2 ** -24;
/**
 * Of the differences, relative: curvature over a step and the rounding of losses up to 300 leave 5e-5 … 3e-3. The losses of relu
 * models (opt, gpt2_untied) have kinks nearer than a step: 7e-3 and 2e-2.
 */
const ERROR = 0.01;
const RELU = 0.05;

describe('the tangents of', () => {
  for (const folder of ['models', 'variations'] as const)
    for (const name of goldenModels(folder))
      it(`${name} are the slopes of its losses`, async () => {
        const { rows, model, layout, theta } = openGolden(join(goldenFiles, folder, name));
        const z = await directionsOf(layout, KEY, DIRECTIONS);
        const { losses, differences } = await withForward(model, { layout }, {}, async (plain) => {
          const losses = await plain.losses(rows, 1, theta);
          const differences: number[] = [];
          for (let j = 0; j < DIRECTIONS; j++) {
            const plus = await plain.losses(rows, 1, moved(theta, j, STEP));
            const minus = await plain.losses(rows, 1, moved(theta, j, -STEP));
            differences.push(...plus.map((loss, row) => (loss - minus[row]!) / (2 * STEP)));
          }
          return { losses, differences };
        });
        await withForward(model, { layout }, { tangents: 'float32' }, async (forward) => {
          const again = await forward.losses(rows, 1, theta);
          again.forEach((loss, row) => {
            assert(Math.abs(loss - losses[row]!) <= ROUNDING * loss, `row ${row}: ${loss}, expected ${losses[row]}`);
          });
          const slopes = await forward.slopes(rows, theta, z);
          const error = norm(slopes.map((slope, i) => slope - differences[i]!)) / norm(slopes);
          assert(error < (name.startsWith('opt') ? RELU : ERROR), `relative error ${error}`);
        });
      });
});

describe('slopes', () => {
  const { rows, model, layout, theta } = openGolden(join(goldenFiles, 'models', 'llama'));

  it('are the same in several runs as in one', async () => {
    const z = await directionsOf(layout, KEY, DIRECTIONS);
    const slopesWith = (maxActivationElements: number | undefined) =>
      withForward(
        model,
        { layout },
        { tangents: 'float32', ...(maxActivationElements && { maxActivationElements }) },
        (f) => f.slopes(rows, theta, z),
      );
    const [whole, parts] = [await slopesWith(undefined), await slopesWith(30_000)];
    // The order of float32 sums may differ with the shape of a product.
    whole.forEach((slope, i) => {
      assert(Math.abs(slope - parts[i]!) < 1e-5 * Math.max(1, Math.abs(slope)), `${i}: ${slope} and ${parts[i]}`);
    });
  });

  it('of a run that trains B alone leave A as it is', async () => {
    const onlyB = adapterLayout(layout.modules, 'B');
    const both = await directionsOf(layout, KEY, DIRECTIONS);
    const z = new Float32Array(DIRECTIONS * onlyB.elements);
    const [b, a]: number[][] = [[], []];
    for (const { module, matrix, offset, elements } of layout.tensors) {
      (matrix === 'B' ? b! : a!).push(...theta.subarray(offset, offset + elements));
      const values = both.subarray(DIRECTIONS * offset, DIRECTIONS * (offset + elements));
      if (matrix === 'A') values.fill(0);
      else z.set(values, DIRECTIONS * onlyB.tensors[module]!.offset);
    }
    const tangents = 'float32';
    const expected = await withForward(model, { layout }, { tangents }, (f) => f.slopes(rows, theta, both));
    const adapter = { layout: onlyB, frozenA: Float32Array.from(a!) };
    const got = await withForward(model, adapter, { tangents }, (f) => f.slopes(rows, Float32Array.from(b!), z));
    got.forEach((slope, i) => {
      assert(Math.abs(slope - expected[i]!) < 1e-5 * Math.max(1, Math.abs(slope)), `${i}: ${slope}, ${expected[i]}`);
    });
  });
});

describe('tangents in int8', () => {
  it('give slopes that correlate with those in float32, in every family', async (t) => {
    if (!(await hasExactInt8())) return t.skip('the 8-bit products of this CPU saturate');
    for (const name of goldenModels()) {
      const { rows, model, layout, theta } = openGolden(join(goldenFiles, 'models', name));
      const z = await directionsOf(layout, KEY, DIRECTIONS);
      const slopes = (tangents: 'float32' | 'int8') =>
        withForward(model, { layout }, { tangents }, (forward) => forward.slopes(rows, theta, z));
      const found = correlation(await slopes('int8'), await slopes('float32'));
      // Two roundings to 7 bits per product; the worst of the nine is 0.997.
      assert(found > 0.99, `${name}: correlation ${found}`);
    }
  });

  it('give slopes that correlate with those in float32: SmolLM2', { skip: skipWithoutSmollm2 }, async () => {
    const model = openBaseModel(smollm2Directory);
    const layout = adapterLayout(
      model.linearModules.map(({ name, fanIn, fanOut }) => ({ name, fanIn, fanOut, rank: 8, scale: 2 })),
    );
    const tokenizer = await loadTokenizer(smollm2Directory);
    const texts = ['the plot was dull and the jokes fell flat . It was', 'a haunting , assured remake . It was'];
    const rows = (await tokenizer.encode(texts)).map(({ ids }) => ({ ids, labels: [ids.length - 1] }));
    tokenizer.close();
    const theta = initialAdapter(1, layout.modules);
    const z = await directionsOf(layout, KEY, DIRECTIONS);
    const slopes = (tangents: 'float32' | 'int8') =>
      withForward(model, { layout }, { tangents }, (forward) => forward.slopes(rows, theta, z));
    const found = correlation(await slopes('int8'), await slopes('float32'));
    assert(found > 0.98, `correlation ${found}`);
  });
});
