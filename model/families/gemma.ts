/** Gemma 2 and the text models of Gemma 3. */
import type { Architecture, Rope } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { activationOf } from './activation-config.ts';
import { type GatedSizes, gatedDecoder, gatedSizes } from './gated-decoder.ts';
import { layerWindows } from './layer-types.ts';
import { ropeFrom, ropeOf } from './rope-config.ts';

const DEFAULTS = {
  hiddenSize: 2304,
  intermediateSize: 9216,
  layers: 26,
  heads: 8,
  keyValueHeads: 4,
  headSize: 256,
  epsilon: 1e-6,
  tied: true,
};

/** Scores and logits are soft-capped; every other layer slides. */
export function gemma2(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, { ...DEFAULTS, vocabularySize: 256000, maxPositions: 8192 });
  const softcap = config.nullable('attn_logit_softcapping', 50, (name) => config.positive(name));
  const shared = sharedFields(config, sizes, (layer) => layer % 2 === 0);
  return gatedDecoder(config, sizes, {
    ...shared.variation,
    ropes: [ropeOf(config, { ...sizes, defaultTheta: 10_000 })],
    attention: (layer) => ({ ...shared.attention(layer), softcap }),
    finalSoftcap: config.nullable('final_logit_softcapping', 30, (name) => config.positive(name)),
  });
}

/** Head norms, two ropes; scores are never capped, whatever `attn_logit_softcapping` says. */
export function gemma3Text(config: ConfigFields): Architecture {
  const sizes = gatedSizes(config, { ...DEFAULTS, vocabularySize: 262208, maxPositions: 131072 });
  const pattern = config.count('sliding_window_pattern', 6);
  const shared = sharedFields(config, sizes, (layer) => (layer + 1) % pattern !== 0);
  return gatedDecoder(config, sizes, {
    ...shared.variation,
    ropes: gemma3Ropes(config, sizes),
    projectionNorms: 'head',
    attention: (layer) => ({ ...shared.attention(layer), rope: shared.windows[layer] === undefined ? 0 : 1 }),
    finalSoftcap: config.has('final_logit_softcapping') ? config.positive('final_logit_softcapping') : undefined,
  });
}

function sharedFields(config: ConfigFields, sizes: GatedSizes, slides: (layer: number) => boolean) {
  if (config.flag('use_bidirectional_attention', false))
    throw config.refuse('use_bidirectional_attention', 'false: only causal models are supported');
  const windows = layerWindows(config, sizes.layers, 4096, slides);
  const bias = config.flag('attention_bias', false);
  const scale = config.positive('query_pre_attn_scalar', 256) ** -0.5;
  return {
    windows,
    attention: (layer: number) => ({ scale, window: windows[layer] }),
    variation: {
      biases: { qkv: bias, o: bias, feedForward: false },
      activation: activationOf(config, 'hidden_activation', 'gelu_pytorch_tanh'),
      gemma: true,
    },
  };
}

/** Full layers first, then sliding ones. Old configs hold `rope_theta`, `rope_local_base_freq` and a `rope_scaling` of full layers. */
function gemma3Ropes(config: ConfigFields, sizes: GatedSizes): Rope[] {
  const nested = config.object('rope_parameters');
  const scaling = config.isEmpty('rope_scaling') ? undefined : config.object('rope_scaling');
  // transformers 5 ignores the older name in this family.
  if (nested === undefined && scaling?.has('type') && !scaling.has('rope_type'))
    throw scaling.refuse('type', 'none: this family has rope_type');
  const full = nested?.merged('full_attention', scaling) ?? scaling;
  const sliding = nested?.object('sliding_attention');
  const localTheta = config.positive('rope_local_base_freq', 10_000);
  const shared = config.without('original_max_position_embeddings');
  const local = ropeFrom(shared.without('rope_theta'), sliding, { ...sizes, defaultTheta: localTheta });
  return [ropeFrom(shared, full, { ...sizes, defaultTheta: 1_000_000 }), local];
}
