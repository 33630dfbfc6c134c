/**
 * The frame that llama and its relatives share: token embedding, layers of RMS-normalized rotary attention and a gated
 * feed-forward, RMS norm, head. A family file says what differs.
 */
import type { Activation, Architecture, Attention, Layer, Linear, Normalization, Rope } from '../architecture.ts';
import type { ConfigFields } from '../config-fields.ts';
import { activationOf } from './activation-config.ts';
import { reach } from './rope-config.ts';

/** What the config must say where a family has no usable default: all are defaults of transformers. */
export interface GatedDefaults {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Undefined: as many as heads. */
  readonly keyValueHeads?: number;
  /** Undefined: hidden size / heads. */
  readonly headSize?: number;
  readonly maxPositions: number;
  readonly epsilon: number;
  readonly tied: boolean;
}

/** The sizes of a config, defaults filled in. */
export interface GatedSizes extends Required<GatedDefaults> {}

export function gatedSizes(config: ConfigFields, defaults: GatedDefaults): GatedSizes {
  const hiddenSize = config.count('hidden_size', defaults.hiddenSize);
  const heads = config.count('num_attention_heads', defaults.heads);
  const keyValueHeads = config.isNull('num_key_value_heads')
    ? heads
    : config.count('num_key_value_heads', defaults.keyValueHeads ?? heads);
  if (heads % keyValueHeads !== 0) throw config.refuse('num_key_value_heads', `a divisor of ${heads} heads`);
  if (!config.has('head_dim') && defaults.headSize === undefined && hiddenSize % heads !== 0)
    throw config.refuse('hidden_size', `a multiple of ${heads} heads`);
  return {
    vocabularySize: config.count('vocab_size', defaults.vocabularySize),
    hiddenSize,
    intermediateSize: config.count('intermediate_size', defaults.intermediateSize),
    layers: config.count('num_hidden_layers', defaults.layers, 4096),
    heads,
    keyValueHeads,
    headSize: config.count('head_dim', defaults.headSize ?? Math.floor(hiddenSize / heads)),
    maxPositions: config.count('max_position_embeddings', defaults.maxPositions),
    epsilon: config.positive('rms_norm_eps', defaults.epsilon),
    tied: config.flag('tie_word_embeddings', defaults.tied),
  };
}

/** Where a family leaves llama's path. */
export interface GatedVariation {
  readonly ropes: readonly Rope[];
  /** Biases on q, k, v; on o; on gate, up, down. */
  readonly biases: { readonly qkv: boolean; readonly o: boolean; readonly feedForward: boolean };
  readonly activation?: Activation;
  /** What is special in layer i. Default: rope 0, no window. */
  readonly attention?: (layer: number) => Partial<Pick<Attention, 'rope' | 'window' | 'softcap' | 'scale'>>;
  /** One q | k | v and one gate | up layer (phi3). */
  readonly fused?: boolean;
  /** RMS norms of q and k: on each head, or over all heads together. */
  readonly projectionNorms?: 'head' | 'all';
  /** Norms behind attention and feed-forward instead of before them. */
  readonly normsBehind?: boolean;
  /** Factors on the embedding, on what each sublayer adds, and a divisor of the logits (granite). */
  readonly scales?: { readonly embedding: number; readonly residual: number; readonly logits: number };
  /** Gemma: weights stored as w − 1, four norms per layer, scaled embedding. */
  readonly gemma?: boolean;
  readonly finalSoftcap?: number;
}

export function gatedDecoder(config: ConfigFields, sizes: GatedSizes, variation: GatedVariation): Architecture {
  const norm = (name: string, size = sizes.hiddenSize): Normalization => ({
    name,
    kind: 'rms',
    size,
    epsilon: sizes.epsilon,
    unitOffset: variation.gemma ?? false,
    affine: true,
  });
  const activation = variation.activation ?? activationOf(config, 'hidden_act', 'silu');
  return {
    vocabularySize: sizes.vocabularySize,
    hiddenSize: sizes.hiddenSize,
    maxPositions: reach(sizes.maxPositions, variation.ropes),
    fanInFanOut: false,
    embedding: {
      tokens: 'model.embed_tokens.weight',
      size: sizes.hiddenSize,
      scale: variation.gemma ? Math.fround(Math.sqrt(sizes.hiddenSize)) : variation.scales?.embedding,
    },
    ropes: variation.ropes,
    layers: Array.from({ length: sizes.layers }, (_, i) => gatedLayer(i, sizes, variation, activation, norm)),
    finalNorm: norm('model.norm'),
    head: {
      name: 'lm_head.weight',
      tied: sizes.tied,
      softcap: variation.finalSoftcap,
      divisor: variation.scales?.logits,
    },
    prefix: 'model.',
  };
}

function gatedLayer(
  layer: number,
  sizes: GatedSizes,
  variation: GatedVariation,
  activation: Activation,
  norm: (name: string, size?: number) => Normalization,
): Layer {
  const at = `model.layers.${layer}`;
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headSize } = sizes;
  const { biases, gemma, normsBehind, projectionNorms, scales } = variation;
  const headsOfNorm = (heads: number): number => (projectionNorms === 'all' ? heads : 1);
  const linear = (name: string, fanIn: number, fanOut: number, bias: boolean): Linear => ({
    name: `${at}.${name}`,
    fanIn,
    fanOut,
    bias,
    stored: 'out-in',
  });
  const [query, keyValue] = [heads * headSize, keyValueHeads * headSize];
  const attention: Attention = {
    projections: variation.fused
      ? { qkv: linear('self_attn.qkv_proj', hiddenSize, query + 2 * keyValue, biases.qkv) }
      : {
          q: linear('self_attn.q_proj', hiddenSize, query, biases.qkv),
          k: linear('self_attn.k_proj', hiddenSize, keyValue, biases.qkv),
          v: linear('self_attn.v_proj', hiddenSize, keyValue, biases.qkv),
        },
    output: linear('self_attn.o_proj', query, hiddenSize, biases.o),
    heads,
    keyValueHeads,
    headSize,
    scale: headSize ** -0.5,
    rope: 0,
    queryNorm: projectionNorms && norm(`${at}.self_attn.q_norm`, headsOfNorm(heads) * headSize),
    keyNorm: projectionNorms && norm(`${at}.self_attn.k_norm`, headsOfNorm(keyValueHeads) * headSize),
    ...variation.attention?.(layer),
  };
  const bias = biases.feedForward;
  return {
    attention: {
      before: normsBehind ? undefined : norm(`${at}.input_layernorm`),
      inner: attention,
      between: gemma || normsBehind ? norm(`${at}.post_attention_layernorm`) : undefined,
      factor: scales?.residual,
    },
    feedForward: {
      before: normsBehind
        ? undefined
        : norm(`${at}.${gemma ? 'pre_feedforward_layernorm' : 'post_attention_layernorm'}`),
      inner: {
        input: variation.fused
          ? { gateUp: linear('mlp.gate_up_proj', hiddenSize, 2 * intermediateSize, bias) }
          : {
              gate: linear('mlp.gate_proj', hiddenSize, intermediateSize, bias),
              up: linear('mlp.up_proj', hiddenSize, intermediateSize, bias),
            },
        down: linear('mlp.down_proj', intermediateSize, hiddenSize, bias),
        activation,
      },
      between: gemma || normsBehind ? norm(`${at}.post_feedforward_layernorm`) : undefined,
      factor: scales?.residual,
    },
  };
}
