/**
 * What becomes of each field of each configuration class of transformers (test/golden/config-fields.json): it is computed,
 * refused unless it has one value, or without effect on the forward pass. config-changes.test.ts compares the numbers.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigFields } from '../../model/config-fields.ts';
import { describeModel } from '../../model/families/supported.ts';
import { goldenFiles } from '../support/onebyte.ts';

const { common, ...families }: Record<string, string[]> = JSON.parse(
  readFileSync(join(goldenFiles, 'config-fields.json'), 'utf8'),
);
type Values = Readonly<Record<string, unknown>>;
const full = 'full_attention';

/** Another value than the default's or SMALL's gives another description. */
const COMPUTED: Values = {
  vocab_size: 90,
  hidden_size: 64,
  intermediate_size: 5,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  num_key_value_heads: 1,
  head_dim: 6,
  hidden_act: 'relu',
  hidden_activation: 'relu',
  activation_function: 'quick_gelu',
  max_position_embeddings: 77,
  original_max_position_embeddings: 33,
  rms_norm_eps: 0.1,
  layer_norm_epsilon: 0.1,
  rope_parameters: { rope_theta: 50 },
  tie_word_embeddings: undefined,
  attention_bias: true,
  mlp_bias: true,
  query_pre_attn_scalar: 7,
  sliding_window: 3,
  use_sliding_window: false,
  max_window_layers: 2,
  layer_types: [full, full],
  no_rope_layers: [0, 1],
  no_rope_layer_interval: 2,
  final_logit_softcapping: 2,
  attn_logit_softcapping: 2,
  n_positions: 77,
  n_embd: 64,
  n_layer: 3,
  n_head: 8,
  n_inner: 5,
  scale_attn_weights: false,
  scale_attn_by_inverse_layer_idx: true,
  ffn_dim: 5,
  do_layer_norm_before: false,
  _remove_final_layer_norm: true,
  word_embed_proj_dim: 16,
  enable_bias: false,
  layer_norm_elementwise_affine: false,
  embedding_multiplier: 2,
  attention_multiplier: 2,
  residual_multiplier: 2,
  logits_scaling: 2,
};

const GEMMA3 = { rope_parameters: { full_attention: { rope_theta: 50 } } };

/** A value that selects what is not computed: refused with the field's name. The last four are fields of no class, which transformers reads. */
const REFUSED: Values = {
  use_bidirectional_attention: true,
  add_cross_attention: true,
  is_causal: false,
  per_layer_config: { 0: { hidden_size: 8 } },
  quantization_config: { quant_method: 'gptq' },
  compression_config: { quant_method: 'compressed-tensors' },
};
const OF_NO_CLASS = ['is_causal', 'per_layer_config', 'quantization_config', 'compression_config'];

/** How a model begins, is trained or generates, what it is called, what it returns; what other heads than the language model's read. */
const WITHOUT_EFFECT: Values = {
  transformers_version: '1',
  architectures: ['X'],
  output_hidden_states: true,
  return_dict: false,
  dtype: 'float16',
  chunk_size_feed_forward: 2,
  is_encoder_decoder: true,
  id2label: { 0: 'a' },
  label2id: { a: 0 },
  problem_type: 'regression',
  use_cache: false,
  pad_token_id: 3,
  bos_token_id: 3,
  eos_token_id: [3, 4],
  initializer_range: 1,
  init_std: 1,
  attention_dropout: 0.5,
  resid_pdrop: 0.5,
  embd_pdrop: 0.5,
  attn_pdrop: 0.5,
  dropout: 0.5,
  layerdrop: 0.5,
  pretraining_tp: 2,
  summary_type: 'last',
  summary_use_proj: false,
  summary_activation: 'tanh',
  summary_proj_to_labels: false,
  summary_first_dropout: 0.5,
  reorder_and_upcast_attn: true,
};
/** Where a family reads a field otherwise than the tables say. */
const OTHERWISE: Readonly<Record<string, string[]>> = {
  // Scores are never capped.
  gemma3_text: ['attn_logit_softcapping'],
};

/** Sizes that all values above differ from. With `layer_types` on, so that a window can be seen. */
const SMALL: Values = {
  vocab_size: 48,
  hidden_size: 32,
  n_embd: 32,
  intermediate_size: 24,
  ffn_dim: 24,
  num_hidden_layers: 2,
  n_layer: 2,
  num_attention_heads: 4,
  n_head: 4,
  num_key_value_heads: 2,
  use_sliding_window: true,
  sliding_window: 9,
  max_window_layers: 0,
  no_rope_layer_interval: 1,
};

/** Fields that only act beside others. */
const BESIDE: Readonly<Record<string, Values>> = {
  original_max_position_embeddings: {
    rope_parameters: { rope_type: 'longrope', short_factor: [1, 1, 1, 1], long_factor: [2, 2, 2, 2] },
  },
};

function described(family: string, fields: Values): string {
  const own = new Set([...common!, ...families[family]!, ...OF_NO_CLASS]);
  const known = Object.entries({ ...SMALL, ...fields }).filter(([name]) => own.has(name));
  const config = { model_type: family, ...Object.fromEntries(known) };
  return JSON.stringify(describeModel(new ConfigFields('config.json', config)));
}

describe('a field of a configuration class', () => {
  for (const [family, own] of Object.entries(families))
    it(`is computed, refused by name, or without effect: ${family}`, () => {
      for (const name of [...common!, ...own, ...OF_NO_CLASS]) {
        const beside = BESIDE[name] ?? {};
        const before = described(family, beside);
        if (Object.hasOwn(REFUSED, name)) {
          const changed = { ...beside, [name]: REFUSED[name] };
          assert.throws(() => described(family, changed), new RegExp(`config.json: ${name} is .*, expected`));
        } else if (Object.hasOwn(COMPUTED, name) && !OTHERWISE[family]?.includes(name)) {
          const tied = { tie_word_embeddings: !JSON.parse(before).head.tied };
          const value = { ...COMPUTED, ...tied, ...(family === 'gemma3_text' && GEMMA3) }[name];
          assert.notEqual(described(family, { ...beside, [name]: value }), before, name);
        } else {
          assert(Object.hasOwn(WITHOUT_EFFECT, name) || OTHERWISE[family]?.includes(name), `${name} is in no table`);
          const value = WITHOUT_EFFECT[name] ?? COMPUTED[name];
          assert.equal(described(family, { ...beside, [name]: value }), before, name);
        }
      }
    });
});
