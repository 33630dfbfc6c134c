"""Makes test/golden/tokenizers/classes.json: ids and texts by transformers where files beside tokenizer.json name a tokenizer class or tokens.

    python test/golden/make/tokenizer_classes.py test/golden/models/gpt2/tokenizer.json test/golden/tokenizers/classes.json

Needs transformers (made with transformers 5.24.0). `bases` are tokenizer.json files; a case changes parts of one, has other files of the
directory, and holds the ids and the decoded texts of TEXTS; null where transformers does not load it.
"""
import itertools
import json
import os
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

TEXTS = ["The film, 2024:  was good.", " it's a café<image>\n<s>x</s> y </s>", "<end>A <new> don't 🙂 <old> ▁ x . , it 's"]
CLASSES = [None, "LlamaTokenizerFast", "GPT2Tokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "PreTrainedTokenizerFast", "CodeLlamaTokenizer"]
MODEL_TYPES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "opt"]


def pieces():
    """As SentencePiece models are: pieces with bytes to fall back on."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special + [f"<0x{i:02X}>" for i in range(256)], show_progress=False)
    tokenizer.train_from_iterator(["The film was good. It is a good film, and it's the best of 2024. x y A"] * 9, trainer)
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] in special]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    replace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    file["decoder"] = {"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}
    return file


BASES = {"pieces": pieces(), "bytes": json.load(open(sys.argv[1]))}
PREPEND = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
LAYOUTS = [
    ("pieces", {"normalizer": {"type": "Sequence", "normalizers": PREPEND}, "pre_tokenizer": None}),
    ("pieces", {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}}),
    ("bytes", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}}),
]
TYPED = {"__type": "AddedToken"}
NEW = {"content": "<new>", "lstrip": True, "rstrip": True, "special": True}
LISTED = {"0": {"content": "<s>", "special": True}, "9": NEW | {"special": False}}
LLAMA, QWEN, CODE = ({"tokenizer_class": f"{name}Tokenizer"} for name in ["Llama", "Qwen2", "CodeLlama"])
OPTIONS = [{"legacy": True}, {"legacy": None}, {"add_prefix_space": False}, {"add_prefix_space": None}, {"add_bos_token": True, "add_eos_token": True},
           {"unk_token": "good", "bos_token": None}, {"added_tokens_decoder": {}}, {"added_tokens_decoder": LISTED}, {"clean_up_tokenization_spaces": True}]
INFILLING = [{"prefix_token": "▁<PRE>", "middle_token": "<new>", "suffix_token": TYPED | {"content": "<end>"}, "eot_token": "<old>", "fill_token": None},
             {"additional_special_tokens": ["<new>", "<image>"]}, {"extra_special_tokens": ["<old>"]}, {"bos_token": "<bos>"}]
FURTHER = [
    ({"image_token": "<image>"}, {}), ({"image_token": TYPED | {"content": "<image>"}}, {}), ({"think_token": None, "add_x_token": True}, {}),
    ({"extra_special_tokens": {"image_token": "<image>"}, "additional_special_tokens": ["<new>"]}, {}),
    ({"extra_special_tokens": ["<image>"], "additional_special_tokens": ["<new>"]}, {}), ({"extra_special_tokens": [], "additional_special_tokens": ["<new>"]}, {}),
    ({"additional_special_tokens": ["<new>"]}, {"special_tokens_map": {"additional_special_tokens": ["<old>", "<image>"]}}),
    ({"extra_special_tokens": ["<new>"]}, {"special_tokens_map": {"additional_special_tokens": ["<old>"]}}),
    ({"extra_special_tokens": ["<new>"]}, {"special_tokens_map": {"extra_special_tokens": ["<old>", "<new>"]}}),
    ({"extra_special_tokens": {"end_token": "<end>"}}, {"special_tokens_map": {"additional_special_tokens": ["<old>"], "image_token": "<image>"}}),
    ({"extra_special_tokens": ["<new>"]}, {"special_tokens_map": {"extra_special_tokens": {"end_token": "<end>"}}}),
    ({"image_token": "<image>"}, {"special_tokens_map": {"image_token": {"content": "<old>"}, "additional_special_tokens": None}}),
    ({}, {"added_tokens": {"<new>": 384, "<image>": 385}}), ({"eos_token": "<old>"}, {"added_tokens": {"<old>": 385, "<new>": 384, "<pad>": 0}}),
    ({"added_tokens_decoder": {}}, {"added_tokens": {"<new>": 384}}), ({}, {"added_tokens": {"<new>": 384}, "special_tokens_map": {"additional_special_tokens": ["<new>"]}}),
    ({"additional_special_tokens": [TYPED | NEW]}, {}),
]

PADDING = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<old>"}

CASES = [
    *((base, parts, {} if name is None else {"tokenizer_class": name}, {"config": {"model_type": model}})
      for (base, parts), model, name in itertools.product(LAYOUTS, MODEL_TYPES, CLASSES)),
    *((base, parts, {}, {"config": {"model_type": "llama", "tokenizer_class": name}}) for base, parts in LAYOUTS for name in CLASSES[1:3]),
    *((base, parts, LLAMA | option, {"config": {"model_type": "llama"}}) for base, parts in LAYOUTS for option in OPTIONS),
    *((base, parts, CODE | option, {"config": {"model_type": "llama"}}) for base, parts in LAYOUTS[:2] for option in OPTIONS + INFILLING),
    ("pieces", LAYOUTS[0][1], CODE, {"config": {"model_type": "llama"}, "special_tokens_map": {"fill_token": None, "eot_token": {"content": "<end>"}}}),
    *((base, {"padding": PADDING}, LLAMA | named, {"config": {"model_type": "llama"}})
      for base in ("pieces", "bytes") for named in ({}, {"pad_token": None}, {"pad_token": "<end>"})),
    ("bytes", {}, {"tokenizer_class": "GPTNeoXTokenizer"}, {"config": {"model_type": "llama"}}),
    *(("bytes", {}, QWEN | option, {"config": {"model_type": "qwen2"}}) for option in OPTIONS),
    *(("bytes", {}, kind | config, {"config": {"model_type": "qwen3"}} | files) for kind in ({"tokenizer_class": "TokenizersBackend"}, QWEN)
      for config, files in FURTHER),
    ("pieces", {"model": {"type": "WordLevel", "vocab": {"<unk>": 0, "it": 1, "'s": 2, "The": 3, ".": 4}, "unk_token": "<unk>"},
                "pre_tokenizer": {"type": "Whitespace"}, "decoder": None}, {"clean_up_tokenization_spaces": True}, {"config": {"model_type": "llama"}}),
]


def case(base, parts, config, files):
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in {"tokenizer": BASES[base] | parts, "tokenizer_config": config, **files}.items():
            json.dump(content, open(f"{scratch}/{name}.json", "w"))
        result = {"base": base, "parts": parts, "files": {"tokenizer_config": config, **files}, "ids": None, "texts": None, "named": None}
        try:
            tokenizer = AutoTokenizer.from_pretrained(scratch)
            result["ids"] = [tokenizer(text)["input_ids"] for text in TEXTS]
            result["texts"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in result["ids"]]
            result["named"] = tokenizer.special_tokens_map
        except Exception:
            pass
        return result


with open(sys.argv[2], "w") as out:
    json.dump({"texts": TEXTS, "bases": BASES, "cases": [case(*given) for given in CASES]}, out, separators=(",", ":"))
