/** Every fixture against the numbers of transformers + PEFT (test/golden/models/README.md). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBaseModel } from '../../../worker/model/base-model.ts';
import { createForward } from '../../../worker/model/forward.ts';
import type { TokenRow } from '../../../worker/model/packing.ts';
import { readFixtureAdapter } from '../../support/fixture-adapter.ts';

const models = fileURLToPath(new URL('../../golden/models', import.meta.url));
const options = { provider: 'cpu', threads: 1, quantize: 'none' } as const;

interface Sequence {
  readonly ids: number[];
  readonly n_completion_tokens: number;
}

const rowOf = ({ ids, n_completion_tokens }: Sequence): TokenRow => ({
  ids,
  firstCompletion: ids.length - n_completion_tokens,
});

/** The largest difference must be within `tolerance`; says where it is not. */
function assertClose(got: ArrayLike<number>, expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, i) => {
    const difference = Math.abs(got[i]! - value);
    assert(difference <= tolerance, `${what} ${i}: got ${got[i]}, expected ${value}, differs by ${difference}`);
  });
}

const names = readdirSync(models, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

for (const name of names.sort())
  describe(`the ${name} fixture`, () => {
    const directory = join(models, name);
    const golden = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8'));
    const rows: TokenRow[] = golden.examples.map(rowOf);
    const { strict_nll_abs: nllTolerance, strict_logits_abs: logitsTolerance } = golden.tolerance;
    for (const [variant, expected] of Object.entries<typeof golden>(golden.variants))
      it(`gives the losses, logits and option likelihoods of transformers (${variant})`, async () => {
        const model = openBaseModel(directory);
        const adapter = expected.adapter ? readFixtureAdapter(join(directory, expected.adapter), model) : undefined;
        const forward = await createForward(model, adapter, options);
        assertClose(await forward.losses(rows, 1, adapter?.theta), expected.nll, nllTolerance, 'nll');
        assertClose(await forward.logits(rows, 1, adapter?.theta), expected.logits.flat(), logitsTolerance, 'logit');
        for (const [i, { candidates }] of golden.classification.entries()) {
          const losses = await forward.losses(candidates.map(rowOf), 1, adapter?.theta);
          assertClose(
            Array.from(losses, (loss) => -loss),
            expected.classification[i].loglik,
            nllTolerance,
            'loglik',
          );
        }
        await forward.close();
      });
  });
