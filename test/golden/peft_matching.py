"""Prints test/golden/peft-matching.json: what PEFT's own functions answer for names and patterns.

python3 test/golden/peft_matching.py DIRECTORY_OF_THE_PEFT_PACKAGE > test/golden/peft-matching.json   (peft 0.21.2; needs no torch)
"""
import ast
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

root = Path(sys.argv[1])
scope = {"re": re, "_ExcludedModule": lambda: False}
for file in ("utils/other.py", "tuners/tuners_utils.py"):
    for node in ast.parse((root / file).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name in ("match_target_against_key", "get_pattern_key", "check_target_module_exists"):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            exec(compile(ast.Module([node], []), file, "exec"), scope)

NAMES = [f"{stem}.{layer}.{last}" for stem in ("model.layers", "h") for layer in (0, 1, 11)
         for last in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.0.up_proj", "attn.c_attn", "xq_proj")]
CONFIGS = [
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": ["self_attn.q_proj"]},
    {"target_modules": ["model.layers.1.self_attn.q_proj", "c_attn"]},
    {"target_modules": ["_proj"]},
    {"target_modules": "q_proj"},
    {"target_modules": r".*\.q_proj"},
    {"target_modules": r"model\.layers\.\d\.(self_attn|mlp)\.\w+_proj"},
    {"target_modules": r"(?:.*[^x])q_proj|.*up_proj$"},
    {"target_modules": r"h.*"},
    {"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["mlp.up_proj"]},
    {"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*\.1\..*"},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": 1},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 11]},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0], "layers_pattern": "layers"},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": 0, "layers_pattern": ["h", "mlp"]},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": []},
]
PATTERNS = [["q_proj"], ["proj"], [".*proj"], [r"layers\.1\.self_attn\..*"], ["^model.layers.0.mlp.up_proj"], ["mlp", "v_proj", "self_attn.v_proj"],
            [r"self_attn\.(q|v)_proj", "q_proj"], ["up_proj|q_proj"], [r"\d+\.xq_proj"]]

print(json.dumps({
    "names": NAMES,
    "targets": [{"config": c, "matched": [n for n in NAMES if scope["check_target_module_exists"](
        SimpleNamespace(**{"exclude_modules": None, **c}), n)]} for c in CONFIGS],
    "patterns": [{"keys": p, "matched": [[n, k] for n in NAMES if (k := scope["get_pattern_key"](p, n)) != n]} for p in PATTERNS],
}, indent=1))
