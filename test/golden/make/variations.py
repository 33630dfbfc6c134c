"""Makes test/golden/variations: tiny random models of shapes and config styles that test/golden/models leaves out.

    python test/golden/make/variations.py test/golden/variations [NAME...]

Needs torch, transformers and peft (made with torch 2.15.0, transformers 5.23.0, peft 0.21.2). A model is its config.json as
written here, random weights, and a LoRA adapter on all linear layers; expected.json holds what transformers + PEFT compute
in float32, one unpadded row at a time.
"""
import json
import os
import sys

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
GQA = dict(SMALL, num_attention_heads=4, num_key_value_heads=2)
LLAMA = dict(model_type="llama", **GQA)
GEMMA = dict(GQA, head_dim=8, num_hidden_layers=3)
LONG = [1.0, 1.5, 2.0, 3.0, 4.0, 8.0]
SHORT = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]

# name: (config.json, how the weights are stored)
VARIATIONS = {
    "llama_minimal": (dict(model_type="llama", **SMALL), dict()),
    "llama_mqa_biases": (
        dict(model_type="llama", **dict(SMALL, num_key_value_heads=1, head_dim=12), attention_bias=True, mlp_bias=True,
             tie_word_embeddings=True, hidden_act="gelu", rope_theta=500.0, torch_dtype="bfloat16"),
        dict()),
    "llama_f16_shards": (dict(LLAMA, rope_theta=20000.0, rope_scaling=None), dict(dtype="float16", shards=3)),
    "llama_linear": (dict(LLAMA, rope_scaling={"type": "linear", "factor": 2.5}), dict()),
    "llama_llama3": (
        dict(LLAMA, rope_theta=500000.0, max_position_embeddings=4096, rope_scaling={
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}), dict()),
    "llama_dynamic": (
        dict(LLAMA, max_position_embeddings=16, rope_scaling={"type": "dynamic", "factor": 4.0}), dict()),
    "llama_dynamic_new": (
        dict(LLAMA, max_position_embeddings=16, rope_parameters={
            "rope_type": "dynamic", "factor": 4.0, "rope_theta": 5000.0}), dict()),
    "llama_yarn": (
        dict(LLAMA, max_position_embeddings=128, rope_parameters={
            "rope_type": "yarn", "factor": 4.0, "rope_theta": 1000.0, "original_max_position_embeddings": 32}), dict()),
    "llama_yarn_options": (
        dict(LLAMA, max_position_embeddings=64, rope_theta=300.0, rope_scaling={
            "type": "yarn", "factor": 3.0, "beta_fast": 8, "beta_slow": 2, "truncate": False, "mscale": 0.7,
            "mscale_all_dim": 0.3}), dict()),
    "llama_yarn_attention": (
        dict(LLAMA, max_position_embeddings=64, original_max_position_embeddings=16, rope_scaling={
            "rope_type": "yarn", "factor": 3.0, "attention_factor": 1.3, "original_max_position_embeddings": 40}), dict()),
    "llama_longrope": (
        dict(LLAMA, max_position_embeddings=64, rope_scaling={
            "rope_type": "longrope", "short_factor": [1.0, 1.2], "long_factor": [2.0, 5.0],
            "original_max_position_embeddings": 16}), dict()),
    "llama_tied_head_only": (dict(LLAMA, tie_word_embeddings=True), dict(drop=["model.embed_tokens.weight"])),
    "llama_tied_two_tables": (dict(LLAMA, tie_word_embeddings=True), dict(other_head=True)),
    "mistral_window": (dict(model_type="mistral", **GQA, sliding_window=5), dict()),
    "mistral_null_window": (dict(model_type="mistral", **GQA, sliding_window=None, head_dim=6), dict()),
    "qwen2_window": (
        dict(model_type="qwen2", **dict(GQA, num_hidden_layers=3), use_sliding_window=True, sliding_window=4,
             max_window_layers=1, tie_word_embeddings=True), dict()),
    "qwen2_layer_types": (
        dict(model_type="qwen2", **GQA, use_sliding_window=True, sliding_window=3, max_window_layers=1,
             layer_types=["sliding_attention", "full_attention"]), dict()),
    "qwen2_unused_layer_types": (
        dict(model_type="qwen2", **GQA, use_sliding_window=False, sliding_window=3,
             layer_types=["full_attention", "full_attention"]), dict()),
    "qwen3_bias_window": (
        dict(model_type="qwen3", **GQA, head_dim=6, attention_bias=True, use_sliding_window=True, sliding_window=4,
             max_window_layers=1), dict()),
    "qwen3_yarn": (
        dict(model_type="qwen3", **GQA, head_dim=8, max_position_embeddings=32, rope_theta=1000000, rope_scaling={
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}), dict()),
    "gemma2_minimal": (dict(model_type="gemma2", **GEMMA), dict()),
    "gemma2_window_caps": (
        dict(model_type="gemma2", **GEMMA, sliding_window=4, query_pre_attn_scalar=10, attn_logit_softcapping=2.0,
             final_logit_softcapping=3.0, hidden_act="gelu_pytorch_tanh"), dict()),
    "gemma2_no_caps": (
        dict(model_type="gemma2", **GEMMA, attn_logit_softcapping=None, final_logit_softcapping=None,
             attention_bias=True, layer_types=["full_attention", "sliding_attention", "sliding_attention"],
             sliding_window=3), dict()),
    "gemma3_hub_style": (
        dict(model_type="gemma3_text", **GEMMA, sliding_window=4, sliding_window_pattern=2, rope_theta=5000.0,
             rope_local_base_freq=300.0, rope_scaling={"rope_type": "linear", "factor": 8.0},
             query_pre_attn_scalar=12, attn_logit_softcapping=2.0), dict()),
    "gemma3_minimal": (dict(model_type="gemma3_text", **dict(GEMMA, num_hidden_layers=7)), dict()),
    "gemma3_final_cap": (
        dict(model_type="gemma3_text", **GEMMA, sliding_window=6, sliding_window_pattern=3, final_logit_softcapping=2.0,
             tie_word_embeddings=False), dict()),
    "phi3_longrope": (
        dict(model_type="phi3", pad_token_id=None, **dict(SMALL, hidden_size=32), max_position_embeddings=64, rope_theta=10000.0,
             original_max_position_embeddings=16, partial_rotary_factor=0.75,
             rope_scaling={"type": "longrope", "short_factor": SHORT, "long_factor": LONG}), dict()),
    "phi3_longrope_new": (
        dict(model_type="phi3", pad_token_id=None, **dict(SMALL, hidden_size=32), max_position_embeddings=64,
             original_max_position_embeddings=16,
             rope_parameters={"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, "rope_theta": 200.0,
                              "partial_rotary_factor": 0.75}), dict()),
    "phi3_partial_window": (
        dict(model_type="phi3", pad_token_id=None, **GQA, sliding_window=5, partial_rotary_factor=0.5, tie_word_embeddings=True), dict()),
    "smollm3_minimal": (dict(model_type="smollm3", pad_token_id=None, **dict(GQA, num_hidden_layers=5)), dict()),
    "smollm3_window": (
        dict(model_type="smollm3", pad_token_id=None, **dict(GQA, num_hidden_layers=3), no_rope_layer_interval=2, use_sliding_window=True,
             sliding_window=4, attention_bias=True, mlp_bias=True, tie_word_embeddings=False), dict()),
    "gpt2_unprefixed": (
        dict(model_type="gpt2", vocab_size=48, n_positions=40, n_embd=16, n_layer=2, n_head=2, n_inner=20,
             scale_attn_by_inverse_layer_idx=True, activation_function="gelu"),
        dict(dtype="float16", strip="transformer.")),
    "gpt2_untied": (
        dict(model_type="gpt2", vocab_size=48, n_positions=40, n_embd=16, n_layer=2, n_head=2, scale_attn_weights=False,
             tie_word_embeddings=False, activation_function="relu", reorder_and_upcast_attn=True), dict()),
    "opt_post_norm": (
        dict(model_type="opt", vocab_size=48, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
             max_position_embeddings=40, word_embed_proj_dim=8, do_layer_norm_before=False), dict(dtype="float16")),
    "opt_no_bias": (
        dict(model_type="opt", vocab_size=48, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
             max_position_embeddings=40, enable_bias=False, layer_norm_elementwise_affine=False,
             _remove_final_layer_norm=True, activation_function="gelu"), dict(strip="model.", dtype="float32")),
    "granite_minimal": (dict(model_type="granite", **GQA), dict()),
    "granite_factors": (
        dict(model_type="granite", **GQA, embedding_multiplier=12, attention_multiplier=0.25, residual_multiplier=0.22,
             logits_scaling=8.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_theta=5000.0), dict()),
    "olmo2_minimal": (dict(model_type="olmo2", **GQA), dict()),
    "olmo2_bias_yarn": (
        dict(model_type="olmo2", **GQA, attention_bias=True, tie_word_embeddings=True, max_position_embeddings=128,
             rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}), dict()),
}
# (tokens, completion tokens)
ROWS = [(7, 3), (30, 11), (19, 1)]


def randomize(model, generator):
    """Every parameter away from its default; scales that keep activations near 1."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if p.dim() < 2:
            noise = 0.3 * noise + (0 if name.endswith("bias") else 1)
        else:
            noise = noise * (1.0 if "embed" in name or "wte" in name else p.shape[-1] ** -0.5)
        with torch.no_grad():
            p.copy_(noise)


def save_weights(model, directory, generator, dtype="bfloat16", shards=1, strip="", drop=(), other_head=False):
    state = {k.removeprefix(strip): v.detach().clone().to(getattr(torch, dtype)) for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings and not drop:
        state.pop("lm_head.weight", None)
    if other_head:
        state["lm_head.weight"] = torch.randn(state["model.embed_tokens.weight"].shape, generator=generator)
    for name in drop:
        del state[name]
    names = sorted(state, key=lambda n: hash_order(n))
    if shards == 1:
        save_file({n: state[n] for n in names}, f"{directory}/model.safetensors")
        return
    weight_map = {n: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, n in enumerate(names)}
    for file in sorted(set(weight_map.values())):
        save_file({n: state[n] for n in names if weight_map[n] == file}, f"{directory}/{file}")
    with open(f"{directory}/model.safetensors.index.json", "w") as f:
        json.dump({"metadata": {}, "weight_map": weight_map}, f, indent=1)


def hash_order(name):
    """A fixed shuffle: tensors come in any order."""
    return sum((i + 1) * ord(c) for i, c in enumerate(name)) % 97, name


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def compute(make, rows):
    """A fresh model for each row: dynamic rope keeps state between rows."""
    nll, logits = [], []
    for row in rows:
        with torch.no_grad():
            out = make()(input_ids=torch.tensor([row["ids"]]), use_cache=False).logits[0]
        first = row["firstCompletion"]
        lp = torch.log_softmax(out.double(), -1)
        nll.append(-sum(float(lp[i - 1, row["ids"][i]]) for i in range(first, len(row["ids"]))))
        logits.append([float(x) for x in out[first - 1][:8]])
    return {"nll": nll, "logits": logits}


def main():
    out, wanted = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    for seed, (name, (config, storing)) in enumerate(VARIATIONS.items()):
        if wanted and name not in wanted:
            continue
        directory = os.path.join(out, name)
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/config.json", "w") as f:
            json.dump(config, f, indent=1)
        generator = torch.Generator().manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
        randomize(model, generator)
        save_weights(model, directory, generator, **storing)
        rows = [{"ids": torch.randint(0, 48, (n,), generator=generator).tolist(), "firstCompletion": n - labels}
                for n, labels in ROWS]
        adapted = get_peft_model(load(directory), LoraConfig(r=2, lora_alpha=3, target_modules="all-linear",
                                                             task_type="CAUSAL_LM"))
        for p_name, p in adapted.named_parameters():
            if "lora_" in p_name:
                p.data = torch.randn(p.shape, generator=generator) * 0.3
        adapted.save_pretrained(f"{directory}/adapter")
        os.remove(f"{directory}/adapter/README.md")
        expected = {
            "rows": rows,
            "base": compute(lambda: load(directory), rows),
            "adapter": compute(lambda: PeftModel.from_pretrained(load(directory), f"{directory}/adapter").eval(), rows),
        }
        with open(f"{directory}/expected.json", "w") as f:
            json.dump(expected, f)
        print(name, [round(x, 3) for x in expected["base"]["nll"] + expected["adapter"]["nll"]], flush=True)


main()
