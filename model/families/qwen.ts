/** Qwen 2 and 2.5 (biases on q, k, v) and Qwen 3 (norms on each head of q and k). */
import type { Architecture } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { type GatedDefaults, gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { switchedWindows } from './layer-types.ts';
import { ropeOf } from './rope-config.ts';

const DEFAULTS: GatedDefaults = {
  vocabularySize: 151936,
  hiddenSize: 4096,
  intermediateSize: 22016,
  layers: 32,
  heads: 32,
  keyValueHeads: 32,
  maxPositions: 32768,
  epsilon: 1e-6,
  tied: false,
};

export function qwen2(config: ConfigFields): Architecture {
  return qwen(config, DEFAULTS, { qkv: true, o: false, feedForward: false }, undefined);
}

export function qwen3(config: ConfigFields): Architecture {
  const bias = config.flag('attention_bias', false);
  return qwen(config, { ...DEFAULTS, headSize: 128 }, { qkv: bias, o: bias, feedForward: false }, 'head');
}

function qwen(
  config: ConfigFields,
  defaults: GatedDefaults,
  biases: { qkv: boolean; o: boolean; feedForward: boolean },
  projectionNorms: 'head' | undefined,
): Architecture {
  const sizes = gatedSizes(config, defaults);
  const firstSliding = config.whole('max_window_layers', 28);
  const windows = switchedWindows(config, sizes.layers, 4096, (layer) => layer >= firstSliding);
  return gatedDecoder(config, sizes, {
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000 })],
    biases,
    projectionNorms,
    attention: (layer) => ({ window: windows[layer] }),
  });
}
