"""Makes test/golden/gradients.json: gradients of the fixtures' mean loss by their adapters, from PyTorch's autograd.

    python test/golden/make/gradients.py test/golden/models > test/golden/gradients.json

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


def gradients(directory):
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    adapter = sorted(glob.glob(os.path.join(directory, "adapter*")))[0]
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()
    examples = json.load(open(os.path.join(directory, "expected.json")))["examples"]
    for example in examples:
        ids = torch.tensor([example["ids"]])
        logits = model(ids).logits[0, -example["n_completion_tokens"] - 1 : -1]
        targets = ids[0, -example["n_completion_tokens"] :]
        (torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / len(examples)).backward()
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
    names = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
    print(json.dumps({name: gradients(os.path.join(root, name)) for name in names}, indent=1))
