/** Granite 3: llama with factors on the embedding, the scores, what each sublayer adds, and the logits. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { llama } from './llama.ts';

export function granite(config: ConfigFields): Architecture {
  // Not 1 / sqrt(head size), even where it is missing.
  const scale = config.positive('attention_multiplier', 1);
  return llama(config, {
    attention: () => ({ scale }),
    scales: {
      embedding: config.positive('embedding_multiplier', 1),
      residual: config.positive('residual_multiplier', 1),
      logits: config.positive('logits_scaling', 1),
    },
  });
}
