#!/usr/bin/env bash
# Installs PyTorch, transformers and PEFT for the comparisons, in a virtual environment of their own (several GB).
#   bench/peers/install.sh [DIRECTORY]     default: bench/peers/venv
set -euo pipefail
venv=${1:-$(dirname "$0")/venv}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet torch transformers peft
echo "$venv/bin/python"
