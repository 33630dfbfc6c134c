"""dequantise.py GGUF TEMPLATE_DIR MODEL_DIR: a Llama in GGUF as a Hugging Face directory, weights in bfloat16.

TEMPLATE_DIR holds config.json and the tokenizer files, which are copied; the GGUF has the vocabulary, the merges and the chat template.
"""

import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize

LAYER_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_PARTS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hugging_face_name(name):
    stem = name.removesuffix(".weight")
    if stem in OUTER_PARTS:
        return f"{OUTER_PARTS[stem]}.weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER_PARTS[part]}.weight"


def with_rotary_halves(weight, heads):
    """llama.cpp interleaves the rows of the two rotary halves of each head; Hugging Face stores one half after the other."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def bfloat16(weight):
    """float32 as the bits of bfloat16, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def read_weights(reader, config):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    weights = {}
    for tensor in reader.tensors:
        name = hugging_face_name(tensor.name)
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        projection = name.split(".")[-2]
        weights[name] = with_rotary_halves(weight, heads[projection]) if projection in heads else weight
    return weights


def write_safetensors(file, weights):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(weights):
        begin, end = end, end + 2 * weights[name].size
        header[name] = {"dtype": "BF16", "shape": list(weights[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(weights):
            out.write(bfloat16(weights[name]).tobytes())


def complete_tokenizer(reader, file):
    def field(name):
        return reader.get_field(f"tokenizer.{name}").contents()

    tokenizer = json.loads(file.read_text())
    tokens, merges = field("ggml.tokens"), field("ggml.merges")
    parts = {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": [merge.split(" ") for merge in merges]}
    tokenizer["model"].update(parts)
    file.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False), encoding="utf-8")
    (file.parent / "chat_template.jinja").write_text(field("chat_template"), encoding="utf-8")


def main(gguf, template, model):
    reader = GGUFReader(gguf)
    for file in template.iterdir():
        shutil.copy(file, model)
    complete_tokenizer(reader, model / "tokenizer.json")
    write_safetensors(model / "model.safetensors", read_weights(reader, json.loads((template / "config.json").read_text())))


main(*map(Path, sys.argv[1:4]))
