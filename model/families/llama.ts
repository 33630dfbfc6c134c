/** Llama 1, 2, 3, SmolLM 1 and 2, TinyLlama and others of model_type `llama`. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { ropeOf, SHARED_ROPE_TYPES } from './rope-config.ts';

export function llama(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, {
    vocabularySize: 32000,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    maxPositions: 2048,
    epsilon: 1e-6,
    tied: false,
  });
  const attentionBias = config.flag('attention_bias', false);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000, types: SHARED_ROPE_TYPES })],
    biases: { qkv: attentionBias, o: attentionBias, feedForward: config.flag('mlp_bias', false) },
  });
}
