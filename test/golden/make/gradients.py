"""Makes test/golden/gradients.json: gradients of the mean loss by the adapter, from PyTorch's autograd, a model of each family.

    python test/golden/make/gradients.py test/golden > test/golden/gradients.json

Needs torch, transformers and peft (made with torch 2.15.0, transformers 5.24.0, peft 0.21.2). float32, one unpadded row at a
time. For each matrix, by module and A or B: its L2 norm, and its first four elements.
"""
import glob
import json
import os
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


# Families without a model in models/.
VARIATIONS = ["variations/granite_factors", "variations/olmo2_bias_yarn"]


def rows_of(expected):
    """(ids, index of the first token of the completion) of a fixture or a variation."""
    if "rows" in expected:
        return [(row["ids"], row["firstCompletion"]) for row in expected["rows"]]
    return [(example["ids"], len(example["ids"]) - example["n_completion_tokens"]) for example in expected["examples"]]


def gradients(directory):
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    adapter = sorted(glob.glob(os.path.join(directory, "adapter*")))[0]
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()
    rows = rows_of(json.load(open(os.path.join(directory, "expected.json"))))
    for row, first in rows:
        ids = torch.tensor([row])
        logits = model(ids).logits[0, first - 1 : -1]
        (torch.nn.functional.cross_entropy(logits, ids[0, first:], reduction="sum") / len(rows)).backward()
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        module, matrix = name.removeprefix("base_model.model.").removesuffix(".default.weight").rsplit(".lora_", 1)
        values = parameter.grad.flatten()
        found.setdefault(module, {})[matrix] = {"norm": values.norm().item(), "first": values[:4].tolist()}
    return found


if __name__ == "__main__":
    root = sys.argv[1]
    models = sorted(f"models/{name}" for name in os.listdir(f"{root}/models") if os.path.isdir(f"{root}/models/{name}"))
    print(json.dumps({name: gradients(os.path.join(root, name)) for name in models + VARIATIONS}, indent=1))
