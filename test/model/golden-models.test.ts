/** Every fixture against the numbers of transformers + PEFT (test/golden/models/README.md). */
import { describe, it } from 'node:test';
import { assertGolden, fixtures } from '../support/golden-models.ts';

describe('the CPU provider', () => {
  for (const fixture of fixtures())
    for (const variant of Object.keys(fixture.golden.variants))
      it(`gives the losses, logits and option likelihoods of transformers: ${fixture.name}, ${variant}`, async () => {
        const { strict_nll_abs: nll, strict_logits_abs: logit } = fixture.golden.tolerance;
        await assertGolden(fixture, variant, {}, { nll, logit });
      });
});
