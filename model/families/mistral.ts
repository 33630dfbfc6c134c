/** Mistral: llama with a sliding window in every layer; Ministral: in some. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { layerWindows } from './layer-types.ts';
import { ropeOf } from './rope-config.ts';

/** With `layer_types`, AutoConfig takes model_type `mistral` for `ministral`: the same but for them. */
export function mistral(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, {
    vocabularySize: 32000,
    hiddenSize: 4096,
    intermediateSize: 14336,
    layers: 32,
    heads: 32,
    keyValueHeads: 8,
    maxPositions: 131072,
    epsilon: 1e-6,
    tied: false,
  });
  // A missing window is 4096; null is none.
  const windows = layerWindows(config, sizes.layers, 4096, (_, window) => window !== undefined);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000 })],
    biases: { qkv: false, o: false, feedForward: false },
    attention: (layer) => ({ window: windows[layer] }),
  });
}
