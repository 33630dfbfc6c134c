"""Makes test/golden/generation.json: what transformers' generate writes greedily, with and without the adapters.

    python test/golden/make/generation.py test/golden [SMOLLM2_DIRECTORY] > test/golden/generation.json

Needs torch, transformers and peft (made with torch 2.15.0, transformers 5.24.0, peft 0.21.2). float32, one row at a time, with a
key-value cache: except where positions turn by longrope, whose cache transformers keeps beyond the length at which the factors
change for some families. A row ends before two tokens that are so close that float32 sums in another order may exchange them.
"""
import glob
import json
import os
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 24
MARGIN = 1e-4
TEXTS = ["The capital of France is", "Once upon a time, there was a", "def fibonacci(n):\n"]


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def greedy(model, prompts, tokens, end=None):
    scaling = json.dumps(model.config.to_dict())
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = 0
    rows = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False,
                             use_cache="longrope" not in scaling, output_logits=True, return_dict_in_generate=True)
        close = [i for i, x in enumerate(out.logits) if (lambda v: v[0] - v[1])(x[0].topk(2).values) < MARGIN]
        rows.append(out.sequences[0, len(prompt):].tolist()[: min(close, default=tokens)])
    return rows


def fixture(directory):
    expected = json.load(open(f"{directory}/expected.json"))
    if "rows" in expected:
        prompts = [row["ids"][: row["firstCompletion"]] for row in expected["rows"]]
    else:
        prompts = [e["ids"][: e["n_tokens"] - e["n_completion_tokens"]] for e in expected["examples"]]
    # The longest prompt and all tokens fit the 40 learned positions of the smallest models.
    prompts = [prompt[:16] for prompt in prompts[:3]]
    adapter = sorted(glob.glob(os.path.join(directory, "adapter*")))[0]
    # A fresh model each: dynamic rope keeps state between rows.
    makes = {"base": lambda: load(directory), "adapter": lambda: PeftModel.from_pretrained(load(directory), adapter).eval()}
    found = {"prompts": prompts}
    for name, make in makes.items():
        found[name] = [row for p in prompts for row in greedy(make(), [p], TOKENS)]
    print(directory, sum(len(row) for row in found["base"] + found["adapter"]), file=sys.stderr)
    return found


def smollm2(directory):
    tokenizer, model = AutoTokenizer.from_pretrained(directory), load(directory)
    prompts = [tokenizer(text).input_ids for text in TEXTS]
    rows = greedy(model, prompts, 48, end=2)
    return {"texts": TEXTS, "base": rows, "continuations": tokenizer.batch_decode(rows, skip_special_tokens=True)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = sys.argv[1]
    found = {}
    for folder in ["models", "variations"]:
        for name in sorted(os.listdir(f"{root}/{folder}")):
            if os.path.isdir(f"{root}/{folder}/{name}"):
                found[f"{folder}/{name}"] = fixture(f"{root}/{folder}/{name}")
    if len(sys.argv) > 2:
        found["smollm2"] = smollm2(sys.argv[2])
    print(json.dumps(found, separators=(",", ":")).replace('"models/', '\n"models/').replace('"variations/', '\n"variations/'))
