/**
 * Inputs that other programs accept and that are easily read wrongly, whole: model, adapter, rows. Losses (to two decimals, nats) and
 * completion tokens are those of transformers 5.24, PEFT 0.21.2 and tokenizers 0.23.3.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readDataset } from '../../data/dataset.ts';
import { readPeftAdapter } from '../../formats/peft-adapter.ts';
import { adapterLayout } from '../../kernels/adapter-layout.ts';
import { openBaseModel } from '../../model/base-model.ts';
import { loadTokenizer } from '../../model/tokenizer/tokenizer.ts';
import { DataRules } from '../../proto/run-config.ts';
import { completionLoss } from '../../worker/objectives/completion-loss.ts';
import { withForward } from '../support/golden-models.ts';
import { goldenFiles } from '../support/onebyte.ts';

const inputs = join(goldenFiles, 'inputs');

describe('an input that is easily read wrongly', () => {
  for (const name of readdirSync(inputs))
    it(`gives the losses of transformers and PEFT: ${name}`, async () => {
      const at = (file: string): string => join(inputs, name, file);
      const expected = JSON.parse(readFileSync(at('expected.json'), 'utf8'));
      const model = openBaseModel(at('model'));
      const adapter = existsSync(at('adapter')) ? readPeftAdapter(at('adapter'), model.linearModules) : undefined;
      const tokenizer = await loadTokenizer(at('model'), model.vocabularySize);
      const { examples } = await readDataset(at('data.jsonl'), tokenizer, DataRules.parse({}));
      tokenizer.close();
      const layout = adapter && { layout: adapterLayout(adapter.description.modules) };
      const results = await withForward(model, layout, {}, (forward) =>
        completionLoss.evaluate(forward, examples, adapter?.matrices),
      );
      assert.deepEqual(
        results.map(({ nll }) => nll.toFixed(2)),
        expected.nll.map((nll: number) => nll.toFixed(2)),
      );
      if (expected.tokens)
        assert.deepEqual(
          results.map(({ tokens }) => tokens),
          expected.tokens,
        );
    });
});
