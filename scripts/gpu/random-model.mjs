// node random-model.mjs SHAPE DIRECTORY writes a model of random weights: its speed is that of a trained one.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Shapes of SmolLM2-135M and Llama 3.2 1B, and the smallest; weights are random, speed does not depend on them. */
const SHAPES = {
  tiny: {
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 512,
  },
  '135M': {
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
  },
  '1.2B': {
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
  },
};

/** Writes the model `directory` of that shape, in bfloat16. */
function writeRandomModel(directory, shape) {
  mkdirSync(directory);
  const {
    hidden_size: C,
    intermediate_size: I,
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    head_dim,
    vocab_size,
  } = shape;
  const [q, kv] = [num_attention_heads * head_dim, num_key_value_heads * head_dim];
  const tensors = [
    ['model.embed_tokens.weight', [vocab_size, C]],
    ['model.norm.weight', [C]],
  ];
  for (let i = 0; i < num_hidden_layers; i++) {
    const layer = {
      'self_attn.q_proj': [q, C],
      'self_attn.k_proj': [kv, C],
      'self_attn.v_proj': [kv, C],
      'self_attn.o_proj': [C, q],
      'mlp.gate_proj': [I, C],
      'mlp.up_proj': [I, C],
      'mlp.down_proj': [C, I],
      input_layernorm: [C],
      post_attention_layernorm: [C],
    };
    for (const [part, dims] of Object.entries(layer)) tensors.push([`model.layers.${i}.${part}.weight`, dims]);
  }
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      ...shape,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      hidden_act: 'silu',
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      torch_dtype: 'bfloat16',
      bos_token_id: 0,
      eos_token_id: 1,
    }),
  );
  let offset = 0;
  const header = { __metadata__: { format: 'pt' } };
  for (const [tensor, dims] of tensors) {
    const bytes = 2 * dims.reduce((a, b) => a * b);
    header[tensor] = { dtype: 'BF16', shape: dims, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const file = join(directory, 'model.safetensors');
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  // The upper halves of float32 numbers: uniform in ±0.035, a deviation of 0.02, from a small linear generator; norms are 1.
  const block = new Uint16Array(2 ** 22);
  const floats = new Float32Array(1);
  const words = new Uint32Array(floats.buffer);
  let state = 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    floats[0] = (state / 2 ** 32 - 0.5) * 0.07;
    block[i] = words[0] >>> 16;
  }
  const random = Buffer.from(block.buffer);
  const ones = Buffer.from(new Uint16Array(8192).fill(0x3f80).buffer);
  writeFileSync(file, Buffer.concat([size, Buffer.from(text)]));
  const append = (bytes) => writeFileSync(file, bytes, { flag: 'a' });
  for (const [, dims] of tensors)
    for (let left = 2 * dims.reduce((a, b) => a * b); left > 0; ) {
      const source = dims.length === 1 ? ones : random;
      const part = source.subarray(0, Math.min(left, source.length));
      append(part);
      left -= part.length;
    }
}

const [shape, directory] = process.argv.slice(2);
writeRandomModel(directory, SHAPES[shape]);
