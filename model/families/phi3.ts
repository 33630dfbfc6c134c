/** Phi-3, Phi-3.5 mini and Phi-4 mini: fused q | k | v and gate | up, partial rotation, longrope. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { ropeOf } from './rope-config.ts';

export function phi3(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, {
    vocabularySize: 32064,
    hiddenSize: 3072,
    intermediateSize: 8192,
    layers: 32,
    heads: 32,
    maxPositions: 4096,
    epsilon: 1e-5,
    tied: false,
  });
  const window = config.nullable('sliding_window', undefined, (name) => config.count(name));
  const rope = ropeOf(config, {
    ...sizes,
    defaultTheta: 10_000,
    types: ['default', 'longrope'],
    aliases: { su: 'longrope', yarn: 'longrope' },
    partial: true,
    originalMaxPositions: config.count('original_max_position_embeddings', 4096),
  });
  return gatedDecoder(config, sizes, {
    ropes: [rope],
    biases: { qkv: false, o: false, feedForward: false },
    fused: true,
    attention: () => ({ window }),
  });
}
