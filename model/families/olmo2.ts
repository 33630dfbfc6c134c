/** OLMo 2: norms behind attention and feed-forward instead of before them, and on q and k over all heads together. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { ropeOf } from './rope-config.ts';

export function olmo2(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, {
    vocabularySize: 50304,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    maxPositions: 2048,
    epsilon: 1e-5,
    tied: false,
  });
  const bias = config.flag('attention_bias', false);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000 })],
    biases: { qkv: bias, o: bias, feedForward: false },
    projectionNorms: 'all',
    normsBehind: true,
  });
}
