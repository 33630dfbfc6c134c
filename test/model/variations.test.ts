/** Shapes, config styles and file layouts beyond the fixtures, against transformers + PEFT (test/golden/make/variations.py). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBaseModel } from '../../model/base-model.ts';
import { createForward } from '../../model/runtime/forward.ts';
import { readFixtureAdapter } from '../support/fixture-adapter.ts';
import { onCpu, rowsOf } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';

const variations = join(goldenFiles, 'variations');

// Losses are up to 260 nats, of float32 logits on both sides.
const NLL_TOLERANCE = 5e-4;
const LOGIT_TOLERANCE = 1e-4;

describe('a variation of a family', () => {
  for (const name of readdirSync(variations).sort())
    it(`gives the losses and logits of transformers: ${name}`, async () => {
      const directory = join(variations, name);
      const expected = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));
      const rows = rowsOf(expected);
      const model = openBaseModel(directory);
      const adapters = { base: undefined, adapter: readFixtureAdapter(join(directory, 'adapter'), model) };
      assert.equal(adapters.adapter.layout.modules.length, model.linearModules.length, 'PEFT adapts the same layers');
      for (const [variant, adapter] of Object.entries(adapters)) {
        const forward = await createForward(model, adapter, onCpu);
        const losses = await forward.losses(rows, 1, adapter?.theta);
        const logits = await forward.logits(rows, 1, adapter?.theta);
        await forward.close();
        const { nll, logits: expectedLogits } = expected[variant];
        nll.forEach((value: number, row: number) => {
          assert(
            Math.abs(losses[row]! - value) < NLL_TOLERANCE,
            `${variant} ${row}: ${losses[row]}, expected ${value}`,
          );
          expectedLogits[row].forEach((logit: number, i: number) => {
            const got = logits[row * model.vocabularySize + i]!;
            assert(Math.abs(got - logit) < LOGIT_TOLERANCE, `${variant} logit ${row}, ${i}: ${got}, expected ${logit}`);
          });
        });
      }
    });
});
