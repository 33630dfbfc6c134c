"""Makes test/golden/tokenizers/configs.json: ids by transformers where files beside tokenizer.json name special tokens.

    python test/golden/make/tokenizer_config.py test/golden/models test/golden/tokenizers/configs.json

Needs transformers (made with transformers 5.24.0). For two fixtures: `files`, what is changed in tokenizer_config.json or written as
special_tokens_map.json, and the ids of TEXTS; null where transformers does not load them.
"""
import json
import os
import shutil
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from transformers import AutoTokenizer

TEXTS = ["The film was good.", " a <s>b</s> Hello  filmed World's <pad> <bos>x goods", "<new>A <new> film<other> é"]
FILM = {"content": "film", "special": True}
TYPED = {"__type": "AddedToken"}
CONFIGS = [
    {}, {"split_special_tokens": True}, {"split_special_tokens": False}, {"add_bos_token": True}, {"add_bos_token": False}, {"add_eos_token": True},
    {"additional_special_tokens": ["film"]}, {"additional_special_tokens": ["<pad>", "<new>", "<other>"]}, {"additional_special_tokens": None},
    {"extra_special_tokens": ["film", "<new>"]}, {"extra_special_tokens": {"film_token": "film"}}, {"extra_special_tokens": [TYPED | FILM | {"lstrip": True, "single_word": True}]},
    {"extra_special_tokens": [TYPED | FILM | {"rstrip": True, "normalized": True}]}, {"added_tokens_decoder": {}}, {"added_tokens_decoder": {"5": FILM}},
    {"added_tokens_decoder": {"9999": FILM | {"special": False}}}, {"added_tokens_decoder": {"400": {"content": "<other>"}, "399": {"content": "<new>", "special": True}}},
    {"added_tokens_decoder": {"2": {"content": "<pad>", "special": False, "lstrip": True, "rstrip": True}}},
    {"bos_token": "good"}, {"eos_token": "good"}, {"unk_token": "good"}, {"pad_token": "<new>"}, {"mask_token": TYPED | {"content": "<new>", "lstrip": True}},
    {"sep_token": "film", "cls_token": "good"}, {"bos_token": None}, {"pad_token": None, "eos_token": None}, {"model_max_length": 3},
    {"padding_side": "left", "truncation_side": "left"}, {"clean_up_tokenization_spaces": True}, {"do_lower_case": True}, {"legacy": False},
    {"add_prefix_space": False}, {"tokenizer_class": "PreTrainedTokenizerFast"},
]
MAPS = [{"bos_token": "good"}, {"additional_special_tokens": ["film", "<new>"]}, {"pad_token": TYPED | FILM}]


def ids(source, config, old):
    with tempfile.TemporaryDirectory() as scratch:
        for file in ("tokenizer.json", "config.json"):
            shutil.copy(f"{source}/{file}", scratch)
        files = {"tokenizer_config.json": {**json.load(open(f"{source}/tokenizer_config.json")), **config}, "special_tokens_map.json": old}
        for name, content in files.items():
            if content is not None:
                json.dump(content, open(f"{scratch}/{name}", "w"))
        try:
            tokenizer = AutoTokenizer.from_pretrained(scratch)
            return [tokenizer(text)["input_ids"] for text in TEXTS]
        except Exception:
            return None


cases = [(config, None) for config in CONFIGS] + [(config, old) for old in MAPS for config in ({}, {"added_tokens_decoder": {}})]
found = [{"model": model, "config": config, "map": old, "ids": ids(f"{sys.argv[1]}/{model}", config, old)}
         for model in ("llama", "gpt2") for config, old in cases]
with open(sys.argv[2], "w") as out:
    json.dump({"texts": TEXTS, "cases": found}, out)
