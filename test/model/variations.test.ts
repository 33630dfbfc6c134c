/** Shapes, config styles and file layouts beyond the fixtures, against transformers + PEFT (test/golden/make/variations.py). */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { assertClose, openGolden, withForward } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';

const variations = join(goldenFiles, 'variations');

// Losses are up to 260 nats, of float32 logits on both sides.
const NLL_TOLERANCE = 5e-4;
const LOGIT_TOLERANCE = 1e-4;

describe('a variation of a family', () => {
  for (const name of readdirSync(variations).sort())
    it(`gives the losses and logits of transformers: ${name}`, async () => {
      const { expected, rows, model, ...adapter } = openGolden(join(variations, name));
      assert.equal(adapter.layout.modules.length, model.linearModules.length, 'PEFT adapts the same layers');
      for (const [variant, given] of Object.entries({ base: undefined, adapter }))
        await withForward(model, given, {}, async (forward) => {
          const { nll, logits } = expected[variant];
          assertClose(await forward.losses(rows, 1, given?.theta), nll, NLL_TOLERANCE, variant);
          const got = await forward.logits(rows, 1, given?.theta);
          // Of each row the first few.
          for (const [row, first] of (logits as number[][]).entries())
            assertClose(
              got.subarray(row * model.vocabularySize).subarray(0, first.length),
              first,
              LOGIT_TOLERANCE,
              variant,
            );
        });
    });
});
