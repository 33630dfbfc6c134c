/** Llama 1, 2, 3, SmolLM 1 and 2, TinyLlama and others of model_type `llama`. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { type GatedVariation, gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { ropeOf } from './rope-config.ts';

/** @param variation where a relative leaves llama's path */
export function llama(config: ConfigFields, variation: Partial<GatedVariation> = {}): Architecture {
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
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000 })],
    biases: { qkv: attentionBias, o: attentionBias, feedForward: config.flag('mlp_bias', false) },
    ...variation,
  });
}
