/** GPT-2 and its descendants of model_type `gpt2`: learned positions, weights stored `[in, out]`. */
import type { Architecture, Layer, Linear, Normalization } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { activationOf } from './activation-config.ts';

export function gpt2(config: ConfigFields): Architecture {
  if (config.flag('add_cross_attention', false))
    throw config.refuse('add_cross_attention', 'false: only causal models are supported');
  const size = (hub: string, general: string, fallback: number): number =>
    config.count(config.has(general) ? general : hub, fallback);
  const hiddenSize = size('n_embd', 'hidden_size', 768);
  const maxPositions = size('n_positions', 'max_position_embeddings', 1024);
  const heads = size('n_head', 'num_attention_heads', 12);
  if (hiddenSize % heads !== 0) throw config.refuse('n_embd', `a multiple of ${heads} heads`);
  const norm = (name: string): Normalization => ({
    name,
    kind: 'layer',
    size: hiddenSize,
    epsilon: config.positive('layer_norm_epsilon', 1e-5),
    unitOffset: false,
    affine: true,
  });
  const vocabularySize = config.count('vocab_size', 50257);
  return {
    vocabularySize,
    hiddenSize,
    maxPositions,
    fanInFanOut: true,
    embedding: {
      tokens: 'transformer.wte.weight',
      size: hiddenSize,
      positions: { name: 'transformer.wpe.weight', rows: maxPositions, offset: 0 },
    },
    ropes: [],
    layers: Array.from({ length: size('n_layer', 'num_hidden_layers', 12) }, (_, i) =>
      gpt2Layer(config, i, hiddenSize, heads, norm),
    ),
    finalNorm: norm('transformer.ln_f'),
    head: { name: 'lm_head.weight', tied: config.flag('tie_word_embeddings', true) },
    prefix: 'transformer.',
  };
}

function gpt2Layer(
  config: ConfigFields,
  layer: number,
  hiddenSize: number,
  heads: number,
  norm: (name: string) => Normalization,
): Layer {
  const at = `transformer.h.${layer}`;
  const linear = (name: string, fanIn: number, fanOut: number): Linear => ({
    name: `${at}.${name}`,
    fanIn,
    fanOut,
    bias: true,
    stored: 'in-out',
  });
  const inner = config.count('n_inner', 4 * hiddenSize);
  const headSize = hiddenSize / heads;
  const scale = config.flag('scale_attn_weights', true) ? headSize ** -0.5 : 1;
  return {
    attention: {
      before: norm(`${at}.ln_1`),
      inner: {
        projections: { qkv: linear('attn.c_attn', hiddenSize, 3 * hiddenSize) },
        output: linear('attn.c_proj', hiddenSize, hiddenSize),
        heads,
        keyValueHeads: heads,
        headSize,
        scale: config.flag('scale_attn_by_inverse_layer_idx', false) ? scale / (layer + 1) : scale,
      },
    },
    feedForward: {
      before: norm(`${at}.ln_2`),
      inner: {
        input: { up: linear('mlp.c_fc', hiddenSize, inner) },
        down: linear('mlp.c_proj', inner, hiddenSize),
        activation: activationOf(config, 'activation_function', 'gelu_new'),
      },
    },
  };
}
