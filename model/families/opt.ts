/** OPT: learned positions from row 2 on, layer norms before the sublayers or (350m) after them. */
import type { Architecture, Layer, Linear, Normalization } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { activationOf } from './activation-config.ts';

/** Rows of the position table before position 0. */
const POSITION_OFFSET = 2;
/** OPT's layer norms take PyTorch's default; no field of the config changes it. */
const EPSILON = 1e-5;

export function opt(config: ConfigFields): Architecture {
  const hiddenSize = config.count('hidden_size', 768);
  const size = config.count('word_embed_proj_dim', hiddenSize);
  const maxPositions = config.count('max_position_embeddings', 2048);
  const before = config.flag('do_layer_norm_before', true);
  const projected = size !== hiddenSize;
  const projection = (name: string, fanIn: number, fanOut: number): Linear | undefined =>
    projected ? { name: `model.decoder.${name}`, fanIn, fanOut, bias: false, stored: 'out-in' } : undefined;
  const norm = (name: string): Normalization => ({
    name: `model.decoder.${name}`,
    kind: 'layer',
    size: hiddenSize,
    epsilon: EPSILON,
    unitOffset: false,
    affine: config.flag('layer_norm_elementwise_affine', true),
  });
  return {
    vocabularySize: config.count('vocab_size', 50272),
    hiddenSize,
    maxPositions,
    fanInFanOut: false,
    embedding: {
      tokens: 'model.decoder.embed_tokens.weight',
      size,
      positions: {
        name: 'model.decoder.embed_positions.weight',
        rows: maxPositions + POSITION_OFFSET,
        offset: POSITION_OFFSET,
      },
      projection: projection('project_in', size, hiddenSize),
    },
    ropes: [],
    layers: Array.from({ length: config.count('num_hidden_layers', 12) }, (_, i) =>
      optLayer(config, i, hiddenSize, before, norm),
    ),
    finalNorm: before && !config.flag('_remove_final_layer_norm', false) ? norm('final_layer_norm') : undefined,
    head: {
      name: 'lm_head.weight',
      tied: config.flag('tie_word_embeddings', true),
      projection: projection('project_out', hiddenSize, size),
    },
    prefix: 'model.',
  };
}

function optLayer(
  config: ConfigFields,
  layer: number,
  hiddenSize: number,
  before: boolean,
  norm: (name: string) => Normalization,
): Layer {
  const at = `layers.${layer}`;
  const heads = config.count('num_attention_heads', 12);
  if (hiddenSize % heads !== 0) throw config.refuse('hidden_size', `a multiple of ${heads} heads`);
  const inner = config.count('ffn_dim', 3072);
  const bias = config.flag('enable_bias', true);
  const linear = (name: string, fanIn: number, fanOut: number): Linear => ({
    name: `model.decoder.${at}.${name}`,
    fanIn,
    fanOut,
    bias,
    stored: 'out-in',
  });
  const square = (name: string): Linear => linear(`self_attn.${name}`, hiddenSize, hiddenSize);
  const placed = (name: string) => ({ [before ? 'before' : 'after']: norm(`${at}.${name}`) });
  return {
    attention: {
      ...placed('self_attn_layer_norm'),
      inner: {
        projections: { q: square('q_proj'), k: square('k_proj'), v: square('v_proj') },
        output: square('out_proj'),
        heads,
        keyValueHeads: heads,
        headSize: hiddenSize / heads,
        scale: (hiddenSize / heads) ** -0.5,
      },
    },
    feedForward: {
      ...placed('final_layer_norm'),
      inner: {
        input: { up: linear('fc1', hiddenSize, inner) },
        down: linear('fc2', inner, hiddenSize),
        activation: activationOf(config, 'activation_function', 'relu'),
      },
    },
  };
}
