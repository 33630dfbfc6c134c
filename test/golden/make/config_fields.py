"""Makes test/golden/config-fields.json: the fields of each configuration class in transformers (made with 5.24.0).

    python test/golden/make/config_fields.py > test/golden/config-fields.json
"""
import dataclasses
import json

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

FAMILIES = ["gemma2", "gemma3_text", "gpt2", "granite", "llama", "ministral", "mistral", "olmo2", "opt", "phi3", "qwen2", "qwen3", "smollm3"]
fields = {family: [field.name for field in dataclasses.fields(CONFIG_MAPPING[family])] for family in FAMILIES}
common = set.intersection(*map(set, fields.values()))
own = {family: [name for name in names if name not in common] for family, names in fields.items()}
lines = {"common": [name for name in fields["llama"] if name in common], **own}
print("{\n" + ",\n".join(f" {json.dumps(family)}: {json.dumps(names)}" for family, names in lines.items()) + "\n}")
