"""Loads an adapter directory that this project wrote into transformers + PEFT and checks that all of it arrived.

    python test/tools/check_peft_load.py MODEL_DIR ADAPTER_DIR PAIRS.json [--variant NAME] [--tol NATS]

By hand: PyTorch is several GB, so it is no part of the tests. In a virtual environment outside the tree:
    pip install torch transformers peft safetensors      (used with 2.15.0, 5.23.0, 0.21.2, 0.8.0)

PAIRS.json is [{"prompt", "completion"} | {"ids", "n_completion_tokens"}, ...], or an expected.json of test/golden/models,
of which the examples are used. With "expected_nll" in a pair, or --variant with an expected.json, the numbers are compared.

Prints one JSON object with the summed NLL (nats) of every completion, with and without the adapter.
Exit status: 0 good; 2 a tensor is missing, unexpected or not loaded as stored; 3 not loadable; 4 an NLL differs.
"""
import argparse
import json
import os
import sys
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def finish(code, **report):
    print(json.dumps({"ok": code == 0, **report}))
    sys.exit(code)


def load(model_dir, adapter_dir):
    """The PEFT model, weights in float32, and the warnings of loading it."""
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager", local_files_only=True)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base.eval(), adapter_dir).eval()
    return model, sorted({str(w.message).split("\n")[0][:300] for w in seen})


def compare_tensors(stored, loaded):
    common = sorted(set(stored) & set(loaded))
    return {
        "missing_in_file": sorted(set(loaded) - set(stored)),
        "unexpected_in_file": sorted(set(stored) - set(loaded)),
        "not_loaded_as_stored": [k for k in common if stored[k].shape != loaded[k].shape or not torch.equal(stored[k].to(loaded[k].dtype), loaded[k])],
        "not_finite": sorted(k for k in stored if not torch.isfinite(stored[k].float()).all()),
    }


def encode(model_dir, pair):
    """ids of prompt + completion, and how many of the last are the completion's."""
    if "ids" in pair:
        return pair["ids"], pair["n_completion_tokens"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(model_dir, "tokenizer.json"))
    ids, own = tokenizer.encode(pair["prompt"] + pair["completion"]), tokenizer.encode(pair["prompt"])
    shared = 0
    while shared < len(own) and ids[shared] == own[shared]:
        shared += 1
    return ids, len(ids) - shared


@torch.no_grad()
def summed_nll(model, ids, completion):
    """-ln p of the last `completion` ids, log-softmax in float64."""
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    start = len(ids) - completion
    log_p = torch.log_softmax(logits[start - 1 : -1].double(), dim=-1)
    return -sum(float(log_p[i, token]) for i, token in enumerate(ids[start:]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model_dir")
    parser.add_argument("adapter_dir")
    parser.add_argument("pairs")
    parser.add_argument("--variant")
    parser.add_argument("--tol", type=float, default=1e-3)
    given = parser.parse_args()
    document = json.loads(Path(given.pairs).read_text(encoding="utf-8"))
    pairs = document["examples"] if isinstance(document, dict) else document
    wanted = document["variants"][given.variant]["nll"] if given.variant else [p.get("expected_nll") for p in pairs]
    try:
        stored = load_file(Path(given.adapter_dir) / "adapter_model.safetensors")
        model, notes = load(given.model_dir, given.adapter_dir)
    except Exception as error:
        traceback.print_exc()
        finish(3, error=f"{type(error).__name__}: {error}")
    differences = compare_tensors(stored, get_peft_model_state_dict(model, save_embedding_layers=False))
    report = {"tensors_in_file": len(stored), **differences, "warnings": notes}
    if not stored or any(differences.values()):
        finish(2, **report)
    encoded = [encode(given.model_dir, pair) for pair in pairs]
    report["nll"] = [summed_nll(model, *row) for row in encoded]
    with model.disable_adapter():
        report["nll_without_adapter"] = [summed_nll(model, *row) for row in encoded]
    errors = [abs(got - want) for got, want in zip(report["nll"], wanted) if want is not None]
    report["max_abs_error"] = max(errors, default=None)
    # A NaN is no agreement.
    finish(0 if all(error <= given.tol for error in errors) else 4, **report)


main()
