/** What is said of models that are not computed. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ConfigFields } from '../../../model/config-fields.ts';
import { describeModel } from '../../../model/families/supported.ts';
import { OperatingError } from '../../../proto/operating-error.ts';

function refusal(modelType: string): string {
  try {
    describeModel(new ConfigFields('config.json', { model_type: modelType }));
  } catch (error) {
    assert(error instanceof OperatingError && error.exitCode === 2, String(error));
    return error.message;
  }
  return assert.fail(`${modelType} is computed`);
}

it('a model type that is not computed is refused with the reason, the types that are, and a model to take', () => {
  const reasons: Record<string, string> = {
    lfm2: ': layers of it are state spaces, convolutions or linear attention',
    mamba2: ': layers of it are state spaces, convolutions or linear attention',
    granitemoehybrid: ': layers of it are state spaces, convolutions or linear attention',
    qwen3_moe: ': it is a mixture of experts (MoE), which its tokens choose from',
    mixtral: ': it is a mixture of experts (MoE), which its tokens choose from',
    gemma3: ': it reads images or sound beside text, and models of text alone are computed',
    t5: ': it is no causal model of text',
    olmo3: '',
    constructor: '',
  };
  for (const [modelType, reason] of Object.entries(reasons))
    assert.equal(
      refusal(modelType),
      `config.json: model_type "${modelType}" is not supported${reason}; supported are gemma2, gemma3_text, gpt2, granite, llama, ministral, mistral, olmo2, opt, phi3, qwen2, qwen3, smollm3; take one of them, such as Qwen3 0.6B (qwen3), SmolLM2 135M (llama), Gemma 3 270M or 1B (gemma3_text), Granite 3.3 2B (granite), OLMo 2 1B (olmo2)`,
    );
});

it('a type that is named with a reason is not one that is computed, and every model to take is', () => {
  const [, computed, nearest] = /supported are (.*); take one of them, such as (.*)$/.exec(refusal('x'))!;
  for (const [, modelType] of nearest!.matchAll(/\((\w+)\)/g)) assert(computed!.split(', ').includes(modelType!));
  for (const modelType of ['mamba', 'jamba', 'zamba2', 'olmoe', 'gpt_oss', 'smolvlm', 'qwen3_5', 'bert'])
    assert.match(refusal(modelType), /is not supported: /);
});
