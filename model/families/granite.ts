/** Granite 3: llama with factors on the embedding, the scores, what each sublayer adds, and the logits. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { ropeOf, SHARED_ROPE_TYPES } from './rope-config.ts';

export function granite(config: ConfigFields): Architecture {
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
  // Not 1 / sqrt(head size), even where it is missing.
  const scale = config.positive('attention_multiplier', 1);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000, types: SHARED_ROPE_TYPES })],
    biases: { qkv: attentionBias, o: attentionBias, feedForward: config.flag('mlp_bias', false) },
    attention: () => ({ scale }),
    scales: {
      embedding: config.positive('embedding_multiplier', 1),
      residual: config.positive('residual_multiplier', 1),
      logits: config.positive('logits_scaling', 1),
    },
  });
}
