"""Makes test/golden/config-changes.json: what transformers and PEFT make of configs of which one key was changed.

    python test/golden/make/config_changes.py test/golden [PART ...]

With PARTs only the models whose names hold one are computed, and the others stay as they are. Needs torch, transformers and peft (made with torch 2.15.0, transformers 5.24.0, peft 0.21.2). Every key of config.json of every
model in models/ and variations/, nested ones too, is dropped, set to null and emptied (false, 0, "", [] or {}, by its kind; null
becomes {} and []), and so is every key of adapter_config.json of the models and of WITH_ADAPTER. To every model come the fields of its class that it
leaves out, with another value than the default, and SETTINGS; to some TOGETHER. The result is the summed negative log likelihood of the rows of
expected.json, or null where the model or the adapter cannot be loaded whole: an error, a missing tensor, a wrong shape.
Rows are computed one at a time by a fresh model in float32.
"""
import copy
import json
import os
import shutil
import sys
import tempfile
import warnings

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

# Of the families that have no model in models/.
WITH_ADAPTER = ("variations/granite_factors", "variations/olmo2_bias_yarn")

# What is set besides, where a family may know it: (path, value).
SETTINGS = [
    ("layer_types", "alternating"), ("layer_types", "full"), ("rope_scaling", {}), ("rope_parameters", {}), ("rope_scaling", {"type": "default"}),
    ("rope_scaling", {"rope_type": "linear", "factor": 2.0}), ("rope_parameters", {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}),
    ("rope_scaling", {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.0, "original_max_position_embeddings": 16}),
    ("rope_scaling", {"rope_type": "yarn", "factor": 4.0, "mscale_all_dim": 0.8, "original_max_position_embeddings": 16}),
    ("rope_scaling", {"rope_type": "yarn", "factor": 4.0, "mscale": 0.8, "beta_fast": 0, "original_max_position_embeddings": 16}),
    ("rope_theta", 123.0), ("partial_rotary_factor", 0.5), ("partial_rotary_factor", 1.0), ("sliding_window", 3), ("sliding_window", 0),
    ("use_sliding_window", True), ("max_window_layers", 0), ("no_rope_layers", [1, 0, 1, 0, 1, 0, 1]), ("no_rope_layer_interval", 2),
    ("attention_bias", True), ("mlp_bias", True), ("hidden_act", "relu"), ("hidden_activation", "relu"), ("activation_function", "gelu"),
    ("rms_norm_eps", 0.5), ("layer_norm_epsilon", 0.5), ("layer_norm_eps", 0.5), ("attn_logit_softcapping", 1.0),
    ("final_logit_softcapping", 1.0), ("query_pre_attn_scalar", 3), ("attention_dropout", 0.5), ("pretraining_tp", 2), ("use_cache", False),
    ("tie_word_embeddings", True), ("tie_word_embeddings", False), ("scale_attn_weights", False), ("scale_attn_by_inverse_layer_idx", True),
    ("reorder_and_upcast_attn", True), ("do_layer_norm_before", False), ("_remove_final_layer_norm", True), ("enable_bias", False),
    ("layer_norm_elementwise_affine", False), ("word_embed_proj_dim", None), ("rope_local_base_freq", 77.0), ("sliding_window_pattern", 2),
    ("use_bidirectional_attention", True), ("original_max_position_embeddings", 8), ("embd_pdrop", 0.5), ("resid_pdrop", 0.5),
    ("layerdrop", 0.5), ("logits_scaling", 4.0), ("embedding_multiplier", 4.0), ("attention_multiplier", 4.0), ("residual_multiplier", 4.0),
    ("chunk_size_feed_forward", 1), ("is_decoder", False), ("output_attentions", True), ("unknown_field", 3), ("head_dim", None),
    ("num_key_value_heads", None), ("torch_dtype", "float16"), ("add_cross_attention", True), ("is_causal", False),
    ("per_layer_config", {"0": {"sliding_window": 3}}), ("use_qk_norm", True), ("attn_implementation", "eager"), ("pad_token_id", 5),
]


# Fields that are set together, by a part of the model's name; None drops one.
TOGETHER = {
    "smollm3": [{"layer_types": "alternating", "use_sliding_window": used, "sliding_window": window} for used in (True, False, None) for window in (4, None)]
    + [{"use_sliding_window": used, "sliding_window": 4, "layer_types": None} for used in (True, False)],
    "gemma3": [{"rope_parameters": None, "rope_scaling": {key: "linear", "factor": 8.0}} for key in ("type", "rope_type")]
    + [{"rope_parameters": None, "original_max_position_embeddings": 16, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}],
    "llama": [{"transformers_weights": "model.safetensors"}],
}


def emptied(value):
    """Values of the same kind that hold nothing."""
    if value is None:
        return [{}, []]
    if isinstance(value, bool):
        return [not value]
    return {int: [0], float: [0.0], str: [""], list: [[]], dict: [{}]}[type(value)]


def at(config, path):
    for key in path[:-1]:
        config = config[key]
    return config


def changes(config, prefix=()):
    """(path, value) of every change; the value ... drops the key."""
    for key, value in config.items():
        path = (*prefix, key)
        for new in [..., *([] if value is None else [None]), *emptied(value)]:
            yield path, new
        if isinstance(value, dict) and key not in ("id2label", "label2id", "task_specific_params"):
            yield from changes(value, path)


def sliding(config):
    layers = config.get("num_hidden_layers", config.get("n_layer", 12))
    return ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]


def together(name, config):
    """Fields, of which some are None."""
    for part, sets in TOGETHER.items():
        if part in name:
            for fields in sets:
                yield {key: sliding(config) if value == "alternating" else value for key, value in fields.items()}


def settings(config):
    layers = len(sliding(config))
    for key, value in SETTINGS:
        if value == "alternating":
            value = sliding(config)
        if value == "full":
            value = ["full_attention"] * layers
        if config.get(key, ...) != value:
            yield (key,), value


def changed(config, path, value):
    config = copy.deepcopy(config)
    if value is ...:
        del at(config, path)[path[-1]]
    else:
        at(config, path)[path[-1]] = value
    return config


def label(path, value):
    return f"{'.'.join(path)} {'dropped' if value is ... else json.dumps(value)}"


def stored_shapes(directory):
    shapes = {}
    for file in os.listdir(directory):
        if file.endswith(".safetensors"):
            with safe_open(os.path.join(directory, file), "pt") as tensors:
                for name in tensors.keys():
                    shapes[name] = list(tensors.get_slice(name).get_shape())
    return shapes


def load(directory, shapes):
    """None where a tensor is missing or of another shape; checked on a model without storage, which may be large."""
    config = AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(config)
    prefix = bare.base_model_prefix + "."
    for name, tensor in bare.state_dict().items():
        shape = shapes.get(name) or shapes.get(name.removeprefix(prefix))
        if shape is not None and shape != list(tensor.shape):
            return None
    if sum(p.numel() for p in bare.parameters()) > 2_000_000:
        return None
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    return None if info["missing_keys"] or info["mismatched_keys"] else model.eval()


def nll(make, rows):
    total = 0.0
    for row in rows:
        model = make()
        if model is None:
            return None
        with torch.no_grad():
            out = model(input_ids=torch.tensor([row["ids"]]), use_cache=False).logits[0]
        lp = torch.log_softmax(out.double(), -1)
        total -= sum(float(lp[i - 1, row["ids"][i]]) for i in range(row["firstCompletion"], len(row["ids"])))
    return total if total == total and abs(total) < 1e30 else None


def attempt(run):
    try:
        result = run()
        return None if result is None else round(result, 5)
    except Exception:
        return None


def rows_of(directory):
    with open(f"{directory}/expected.json") as f:
        expected = json.load(f)
    if "rows" in expected:
        return expected["rows"]
    return [{"ids": e["ids"], "firstCompletion": len(e["ids"]) - e["n_completion_tokens"]} for e in expected["examples"]]


def read(file):
    with open(file) as f:
        return json.load(f)


def of_model(directory, scratch):
    """Results by change, of config.json."""
    config, rows, shapes = read(f"{directory}/config.json"), rows_of(directory), stored_shapes(directory)
    results = {}
    for path, value in [*changes(config), *settings(config)]:
        with open(f"{scratch}/config.json", "w") as f:
            json.dump(changed(config, path, value), f)
        results[label(path, value)] = [list(path), "dropped" if value is ... else {"value": value},
                                       attempt(lambda: nll(lambda: load(scratch, shapes), rows))]
    for fields in together(directory, config):
        with open(f"{scratch}/config.json", "w") as f:
            json.dump({key: value for key, value in {**config, **fields}.items() if value is not None or key not in fields}, f)
        results[json.dumps(fields)] = [[], {"value": fields}, attempt(lambda: nll(lambda: load(scratch, shapes), rows))]
    return results


def of_adapter(directory, scratch):
    config, rows = read(f"{directory}/adapter/adapter_config.json"), rows_of(directory)
    results = {}
    extra = [(("layers_to_transform",), [0]), (("layers_to_transform",), 1), (("exclude_modules",), ["q_proj"]), (("unknown_field",), 0.5),
             (("loftq_config",), {"loftq_bits": 4}), (("corda_config",), {"corda_method": "kpm"}), (("ensure_weight_tying",), True),
             (("megatron_core",), "other"), (("eva_config",), {"rho": 1.0}), (("use_rslora",), True), (("lora_dropout",), 0.5),
             (("alpha_pattern",), {".*": 1}), (("init_lora_weights",), "gaussian"), (("inference_mode",), False)]
    for path, value in [*changes(config), *extra]:
        with open(f"{scratch}/adapter_config.json", "w") as f:
            json.dump(changed(config, path, value), f)

        def make():
            base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                adapted = PeftModel.from_pretrained(base, scratch)
            return None if any("missing adapter keys" in str(w.message) for w in said) else adapted.eval()

        results[label(path, value)] = [list(path), "dropped" if value is ... else {"value": value}, attempt(lambda: nll(make, rows[:2]))]
    return results


def main():
    golden, *parts = sys.argv[1:]
    torch.set_num_threads(1)
    found = read(f"{golden}/config-changes.json") if parts else {"config": {}, "adapter": {}}
    for key in [f"{group}/{name}" for group in ["models", "variations"] for name in sorted(os.listdir(f"{golden}/{group}"))]:
        directory = f"{golden}/{key}"
        if not os.path.isdir(directory) or (parts and not any(part in key for part in parts)):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            for file in os.listdir(directory):
                if "safetensors" in file:
                    os.symlink(os.path.abspath(f"{directory}/{file}"), f"{scratch}/{file}")
            found["config"][key] = of_model(directory, scratch)
        if key.startswith("models/") or key in WITH_ADAPTER:
            with tempfile.TemporaryDirectory() as scratch:
                shutil.copy(f"{directory}/adapter/adapter_model.safetensors", scratch)
                found["adapter"][key] = of_adapter(directory, scratch)
        for kind in found:
            found[kind] = dict(sorted(found[kind].items()))
        with open(f"{golden}/config-changes.json", "w") as f:
            json.dump(found, f, separators=(",", ":"))
            f.write("\n")
        print(key, len(found["config"][key]), flush=True)


main()
