/** SmolLM3: llama without rotary positions in some layers. */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { layerWindows } from './layer-types.ts';
import { ropeOf } from './rope-config.ts';

export function smollm3(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, {
    vocabularySize: 128256,
    hiddenSize: 2048,
    intermediateSize: 11008,
    layers: 36,
    heads: 16,
    keyValueHeads: 4,
    maxPositions: 32768,
    epsilon: 1e-6,
    tied: true,
  });
  const rotates = rotatingLayers(config, sizes.layers);
  const used = config.flag('use_sliding_window', false);
  const slides = (layer: number, window: number | undefined) => used && window !== undefined && !rotates[layer];
  const windows = layerWindows(config, sizes.layers, undefined, slides);
  const attentionBias = config.flag('attention_bias', false);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 2_000_000 })],
    biases: { qkv: attentionBias, o: attentionBias, feedForward: config.flag('mlp_bias', false) },
    attention: (layer) => ({ window: windows[layer], rope: rotates[layer] ? 0 : undefined }),
  });
}

/** In `no_rope_layers` 1 means that the layer HAS rotary positions. */
function rotatingLayers(config: ConfigFields, layers: number): boolean[] {
  const flags = config.numbers('no_rope_layers', layers);
  if (flags !== undefined) return flags.slice(0, layers).map((flag) => flag !== 0);
  const interval = config.count('no_rope_layer_interval', 4);
  return Array.from({ length: layers }, (_, i) => (i + 1) % interval !== 0);
}
